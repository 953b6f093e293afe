"""Ends by a lease that was not renewed in time: once costs nothing, again and again rests."""

from dataclasses import replace
from typing import Any

import pytest
from center_tasks.engine_world import RULES, at_work, contract, granted, seen, spec, world
from farshore_center.tasks import engine
from farshore_center.tasks.decision import Decision
from farshore_center.tasks.engine import decide
from farshore_center.tasks.records import Granted
from hypothesis import given
from hypothesis import strategies as st


def over(ran_s: float, *, at_s: float = 1000.0, **more: Any) -> Granted:
    """Its node ended it at ``at_s``, after so long."""
    defaults: dict[str, Any] = {"state": "stopped", "lease_s": 10.0}
    times = {"granted_ms": round((at_s - ran_s) * 1000), "ended_ms": round(at_s * 1000)}
    return granted(**defaults | times | more)


def after_lapse(
    grant: Granted, lapses: int = 0, *, kind: str = "service", at_s: float = 1000.0, **more: Any
) -> Decision:
    view = seen(
        grant,
        of=spec(kind=kind, disconnect=contract("stop")),
        instance=at_work(lapses=lapses, **more),
    )
    return decide(view, world(at_s), RULES)


def test_a_lease_that_is_over_once_costs_nothing_and_no_node_is_left_out() -> None:
    found = after_lapse(over(5.0))
    assert found.place == engine.Place("placed")
    assert found.after is not None
    assert (found.after.lapses, found.after.avoid, found.after.failures) == (1, (), 0)


def test_again_and_again_it_rests_longer_and_goes_rather_elsewhere() -> None:
    found = [after_lapse(over(5.0), lapses) for lapses in (1, 2, 3, 40)]
    assert [each.place for each in found] == [None] * 4
    assert [each.look_ms for each in found] == [1_001_000, 1_002_000, 1_004_000, 1_300_000]
    first = found[0].after
    assert first is not None
    assert (first.avoid, first.state) == (("n1",), "pending")
    assert first.reason == (
        "its lease was not renewed in time on n1, 2 times in a row; it rests for 1 s"
    )
    rested = replace(found[0].view, instance=first)
    assert decide(rested, world(1000.999), RULES).place is None
    assert decide(rested, world(1001.0), RULES).place == engine.Place("placed")


@pytest.mark.parametrize(
    ("ran_s", "lapses", "left"),
    [(59.9, 3, 4), (60.0, 3, 1), (127.0, 9, 10), (256.0, 9, 1)],
    ids=["too short", "calm", "shorter than its pause", "longer than its pause"],
)
def test_earlier_lapses_are_forgotten_after_a_calm_time(
    ran_s: float, lapses: int, left: int
) -> None:
    for grant in (over(ran_s), over(1.0, granted_ms=0, run_s=ran_s)):
        found = after_lapse(grant, lapses)
        assert found.after is not None
        assert found.after.lapses == left


@pytest.mark.parametrize(("since_s", "left"), [(10.0, 7), (600.0, 0)])
def test_calm_before_a_loss_counts_and_a_loss_is_replaced_at_once(
    since_s: float, left: int
) -> None:
    """However often its leases were over before: a node that dies is no reason to wait."""
    lost = over(since_s, state="lost", since_ms=1_000_000, ended_ms=None)
    found = after_lapse(lost, 7, due_ms=2_000_000)
    assert found.place == engine.Place("replaced")
    assert found.after is not None
    assert found.after.lapses == left


@pytest.mark.parametrize(
    "grant",
    [
        over(5.0, want="stop", why="drained"),
        over(5.0, lease_s=0.0),
        over(5.0, state="withdrawn"),
    ],
    ids=["it was asked to end", "no lease", "its node has lost it"],
)
def test_another_end_is_no_lapse(grant: Granted) -> None:
    found = after_lapse(grant, 3)
    assert found.place == engine.Place("placed")
    assert found.after is not None
    assert found.after.lapses == 3


def test_lapses_are_no_failures_of_a_batch() -> None:
    found = after_lapse(over(5.0), 30, kind="batch", failures=2)
    assert found.after is not None
    assert (found.after.state, found.after.failures) == ("pending", 2)


def test_a_restart_forgets_lapses() -> None:
    view = seen(over(5.0), of=spec(disconnect=contract("stop")), instance=at_work(lapses=8), run=2)
    found = decide(view, world(1000.0), RULES)
    assert found.after is not None
    assert (found.place, found.after.lapses) == (engine.Place("placed"), 0)


def test_a_pause_does_not_last_when_the_clock_is_set_back() -> None:
    waiting = at_work(state="pending", epoch=0, due_ms=1_300_000)
    view = seen(of=spec(disconnect=contract("stop")), instance=waiting)
    assert decide(view, world(1000.0), RULES).place is None
    assert decide(view, world(999.9), RULES).place == engine.Place("placed")


@given(runs=st.lists(st.floats(0, 400), min_size=1, max_size=60))
def test_a_pause_is_never_longer_than_it_needs_and_flapping_gets_rare(runs: list[float]) -> None:
    """Each run is ended by its lease, after so many seconds."""
    at_s, lapses, short, began = 1000.0, 0, 0, []
    for ran_s in runs:
        began.append(at_s)
        found = after_lapse(over(ran_s, at_s=at_s + ran_s), lapses, at_s=at_s + ran_s)
        assert found.after is not None
        lapses = found.after.lapses
        pause_s = max(0.0, found.after.due_ms / 1000 - at_s - ran_s)
        assert pause_s <= RULES.backoff_most_s
        assert not (ran_s >= RULES.backoff_most_s and pause_s > 0.001), "calm was long enough"
        short = short + 1 if ran_s < RULES.lease_calm_s - 0.001 else 0
        if short > 1:
            assert pause_s > 0.9 * min(2 ** (short - 2), RULES.backoff_most_s)
        at_s += ran_s + pause_s
    if max(runs) < RULES.lease_calm_s - 0.001:
        within = [moment for moment in began if moment < 1000.0 + 3600.0]
        assert len(within) <= 10 + 3600 / RULES.backoff_most_s + 1
