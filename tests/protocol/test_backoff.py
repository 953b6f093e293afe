"""Backoff: full jitter, bounded, and forgetful after a connection that held."""

import random

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
        ceiling = min(120.0, 2.0 * 2**failures)
        assert 0 <= backoff.failed(up_s=up_s) <= ceiling
        failures += 1
        assert backoff.ceiling_s() == min(120.0, 2.0 * 2**failures)


def test_only_a_connection_that_held_makes_it_begin_anew() -> None:
    backoff = Backoff(SETTINGS, random.Random(1))
    for _ in range(10_000):
        backoff.failed(up_s=59.9)
    assert backoff.ceiling_s() == 120.0
    backoff.failed(up_s=60.0)
    assert backoff.ceiling_s() == 4.0


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
