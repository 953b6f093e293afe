"""Each time of a cron rule begins one run at most, and none too late, whatever the center's life is like."""

from datetime import UTC, datetime

import pytest
from farshore_center.tasks.occurrences import LATE_S, first_ms, occurrence
from hypothesis import given
from hypothesis import strategies as st

MINUTE_MS = 60_000
RULES = st.sampled_from(["* * * * *", "*/5 * * * *", "0 2 * * *", "30 1 * * 1", "0 0 1 * *"])
STARTS = st.integers(1_700_000_000_000, 1_900_000_000_000)
STEPS = st.lists(
    st.one_of(st.integers(1, 120_000), st.integers(1, 40 * 86_400_000)), min_size=1, max_size=30
)


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@given(RULES, STARTS, STEPS, st.lists(st.booleans(), min_size=30, max_size=30))
def test_a_time_begins_one_run_at_most_and_none_too_late(
    cron: str, start_ms: int, steps: list[int], busy: list[bool]
) -> None:
    now_ms, due_ms = start_ms, first_ms(cron, start_ms)
    begun: list[int] = []
    for step, occupied in zip(steps, busy, strict=False):
        now_ms += step
        assert due_ms is not None
        found = occurrence(cron, due_ms, now_ms, busy="it runs" if occupied else None)
        assert (found is None) == (now_ms < due_ms)
        if found is None:
            continue
        assert found.next_ms is not None
        assert found.next_ms > now_ms
        if found.at_ms is not None:
            assert not occupied
            assert due_ms <= found.at_ms <= now_ms <= found.at_ms + LATE_S * 1000
            assert first_ms(cron, found.at_ms - 1000) == found.at_ms
            begun.append(found.at_ms)
        due_ms = found.next_ms
    assert begun == sorted(set(begun))


@given(RULES, STARTS, st.integers(0, round(LATE_S * 1000) - 1))
def test_a_time_that_is_looked_at_soon_enough_is_never_lost(
    cron: str, start_ms: int, late_ms: int
) -> None:
    due_ms = first_ms(cron, start_ms)
    assert due_ms is not None
    found = occurrence(cron, due_ms, due_ms + late_ms)
    assert found is not None
    assert found.at_ms is not None


def test_of_several_that_were_missed_the_last_one_runs() -> None:
    found = occurrence("*/5 * * * *", at("2026-01-01T10:00"), at("2026-01-01T12:03"))
    assert found is not None
    assert found.at_ms == at("2026-01-01T12:00")
    assert found.next_ms == at("2026-01-01T12:05")
    assert found.reason == ("2026-01-01T12:00:00.000Z; none ran from 2026-01-01T10:00:00.000Z on")


def test_one_that_was_missed_for_long_is_left_out_and_said() -> None:
    found = occurrence("0 2 * * *", at("2026-01-01T02:00"), at("2026-01-01T02:11"))
    assert found is not None
    assert found.at_ms is None
    assert found.next_ms == at("2026-01-02T02:00")
    assert "missed" in found.reason


def test_one_that_comes_while_the_run_before_is_not_over_is_left_out_and_said() -> None:
    found = occurrence("* * * * *", at("2026-01-01T02:00"), at("2026-01-01T02:00"), busy="it runs")
    assert found is not None
    assert (found.at_ms, found.next_ms) == (None, at("2026-01-01T02:01"))
    assert "it runs" in found.reason


@pytest.mark.parametrize("seconds", [0, 1, 59])
def test_a_task_that_was_written_within_its_minute_waits_for_the_next(seconds: int) -> None:
    assert first_ms("* * * * *", at("2026-01-01T02:00") + seconds * 1000) == at("2026-01-01T02:01")
