"""Backoff: full jitter, bounded, and forgetful after a connection that held."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from farshore_protocol.link import Backoff, BackoffSettings
from hypothesis import given
from hypothesis import strategies as st

SETTINGS = BackoffSettings(first_s=2.0, max_s=120.0, stable_s=60.0)


@given(st.integers(), st.lists(st.floats(0, 200), min_size=1, max_size=60))
def test_each_wait_is_between_zero_and_a_ceiling_that_doubles(seed: int, ups: list[float]) -> None:
    backoff = Backoff(SETTINGS, random.Random(seed))
    failures = 0
    for up_s in ups:
        if up_s >= SETTINGS.stable_s:
            failures = 0
        ceiling_s = min(120.0, 2.0 * 2**failures)
        assert 0 <= backoff.failed(up_s=up_s) <= ceiling_s
        assert backoff.ceiling_s == ceiling_s
        failures += 1


@given(st.integers(), st.lists(st.booleans(), min_size=1, max_size=60))
def test_where_nobody_was_reached_the_ceiling_doubles_once_it_has_been_waited(
    seed: int, attempts: list[bool]
) -> None:
    backoff = Backoff(SETTINGS, random.Random(seed))
    waited_s, ceiling_s = backoff.failed(up_s=100), 2.0
    for reached in attempts:
        if reached or waited_s >= ceiling_s:
            waited_s, ceiling_s = 0.0, min(120.0, 2 * ceiling_s)
        waited_s += backoff.failed(up_s=0, reached=reached)
        assert backoff.ceiling_s == ceiling_s


def test_only_a_connection_that_held_makes_it_begin_anew() -> None:
    backoff = Backoff(SETTINGS, random.Random(1))
    for _ in range(10_000):
        backoff.failed(up_s=59.9)
    assert backoff.ceiling_s == 120.0
    backoff.failed(up_s=60.0)
    assert backoff.ceiling_s == 2.0
    backoff.failed(up_s=0)
    assert backoff.ceiling_s == 4.0


def test_a_fleet_that_was_cut_off_together_does_not_come_back_together() -> None:
    waits = []
    for node in range(1000):
        backoff = Backoff(SETTINGS, random.Random(node))
        for _ in range(8):
            wait = backoff.failed(up_s=0)
        waits.append(wait)
    tenths = [sum(12 * i <= wait < 12 * (i + 1) for wait in waits) for i in range(10)]
    assert all(60 < count < 140 for count in tenths), f"not uniform over 0..120 s: {tenths}"


def test_the_same_seed_waits_the_same() -> None:
    one, two = (Backoff(SETTINGS, random.Random(7)) for _ in range(2))
    assert [one.failed(up_s=0) for _ in range(20)] == [two.failed(up_s=0) for _ in range(20)]


# A fleet whose center is away for a while, refusing every connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Seconds after the center listens again at which each node comes; refused attempts of all."""

    at_s: Sequence[float]
    refused: int

    @property
    def busiest(self) -> int:
        """The most that come within one second."""
        return max(sum(at <= each < at + 1 for each in self.at_s) for at in self.at_s)


def fleet_of_1000(*, away_s: float, seed: int) -> Return:
    came_s, refused = [], 0
    for node in range(1000):
        backoff = Backoff(SETTINGS, random.Random(f"{seed}/{node}"))
        at_s = backoff.failed(up_s=3600)
        while at_s < away_s:
            refused += 1
            at_s += backoff.failed(up_s=0, reached=False)
        came_s.append(at_s - away_s)
    return Return(at_s=sorted(came_s), refused=refused)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("away_s", [1.0, 2.0, 3.0, 5.0, 10.0, 60.0])
def test_no_node_stays_away_longer_than_its_center_did(away_s: float, seed: int) -> None:
    """And two seconds: the ceiling is never longer than that, however short the waits were."""
    assert fleet_of_1000(away_s=away_s, seed=seed).at_s[-1] <= away_s + 2.0


@pytest.mark.parametrize(
    ("away_s", "busiest"), [(2.0, 800), (3.0, 600), (10.0, 300), (60.0, 120), (600.0, 50)]
)
def test_the_longer_a_center_was_away_the_more_a_fleet_spreads(away_s: float, busiest: int) -> None:
    assert fleet_of_1000(away_s=away_s, seed=1).busiest <= busiest


def test_a_center_that_is_away_for_long_is_asked_seldom() -> None:
    """In an hour little more often than if each refusal had doubled the ceiling."""
    assert fleet_of_1000(away_s=3600.0, seed=1).refused <= 80 * 1000
