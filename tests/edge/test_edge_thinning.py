"""What remains of thinned metrics is true, small, and of the oldest."""

import math

import pytest
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.quota import excess_records, nth, oldest, too_old
from farshore_edge.outbox.thinning import (
    PERIODS_S,
    SERIES_MAX_BYTES,
    Batch,
    Summary,
    coarser,
    merged,
    next_period_s,
    portions,
    stats,
    summarise,
)
from farshore_edge.outbox.thinning import oldest as oldest_sizes
from farshore_protocol.codec import encode
from farshore_protocol.stream import RangeSet
from hypothesis import given
from hypothesis import strategies as st

VALUE = st.none() | st.floats(allow_nan=False, allow_infinity=False, width=64)
BATCHES = st.lists(
    st.tuples(st.integers(0, 400_000), st.dictionaries(st.sampled_from("abc"), VALUE)),
    min_size=1,
    max_size=30,
)


def batches(drawn: list[tuple[int, dict[str, float | None]]]) -> list[Batch]:
    """One sample each; the time between two of them is drawn."""
    made, ts = [], 1_700_000_000_000
    for seq, (gap_ms, sample) in enumerate(drawn, 1):
        ts += gap_ms
        series = {name: [value] for name, value in sample.items()}
        made.append(Batch(seq=seq, size=100, ts=ts, dt=[0], m=series))
    return made


def truth(of: list[Batch], name: str) -> list[float]:
    return [v for b in of for v in b.m.get(name, ()) if v is not None]


def check(summary: Summary, of: list[Batch]) -> None:
    names = {name for b in of for name in b.m if truth(of, name)}
    assert set(summary.series) == names
    for name, (count, low, high, mean) in summary.series.items():
        values = truth(of, name)
        assert (count, low, high) == (len(values), min(values), max(values))
        assert low <= mean <= high
        scale = max(map(abs, values))
        exact = math.fsum(value / len(values) for value in values)
        assert math.isclose(mean, exact, rel_tol=1e-9, abs_tol=max(scale * 1e-9, 1e-300))


@given(BATCHES)
def test_summaries_keep_count_least_greatest_and_mean_and_cover_every_record_once(
    drawn: list[tuple[int, dict[str, float | None]]],
) -> None:
    made = batches(drawn)
    found = summarise(made)
    assert [s.first for s in found[1:]] == [s.last + 1 for s in found[:-1]]
    assert (found[0].first, found[-1].last) == (1, len(made))
    for summary in found:
        mine = made[summary.first - 1 : summary.last]
        check(summary, mine)
        assert len({b.ts // (PERIODS_S[0] * 1000) for b in mine}) == 1
        assert (summary.from_ms, summary.until_ms) == (mine[0].ts, mine[-1].ts)


@given(BATCHES)
def test_coarser_summaries_keep_the_same_and_hold_two_neighbours_or_more(
    drawn: list[tuple[int, dict[str, float | None]]],
) -> None:
    made = batches(drawn)
    for group in coarser(summarise(made)):
        assert len(group) > 1
        whole = merged(group, next_period_s(group[0].period_s))
        assert whole.period_s == 3600
        check(whole, made[whole.first - 1 : whole.last])
        assert whole.last - whole.first + 1 == sum(s.last - s.first + 1 for s in group)


def test_the_finest_summaries_give_way_first_and_the_coarsest_never() -> None:
    def one(first: int, period_s: int, at_s: int) -> Summary:
        ms = at_s * 1000
        return Summary(first=first, last=first, from_ms=ms, until_ms=ms, period_s=period_s)

    hours = [one(1, 3600, 0), one(2, 3600, 3600)]
    fine = [one(3, 300, 7200), one(4, 300, 7500), one(5, 300, 10_800)]
    assert coarser([*hours, *fine]) == [fine[:2]]
    assert coarser(hours) == [hours]
    assert coarser([one(1, 86_400, 0), one(2, 86_400, 1)]) == []
    assert coarser([]) == []


def test_values_at_the_end_of_the_range_stay_finite() -> None:
    huge = [1.7e308] * 3
    first, second = stats(huge[:1]), stats(huge[1:2])
    batch = Batch(seq=1, size=1, ts=0, dt=[0, 1, 2], m={"a": huge})
    whole = merged(summarise([batch]), 3600)
    assert first is not None
    assert second is not None
    assert math.isfinite(whole.series["a"][3])


def test_a_summary_of_many_series_is_split_so_that_each_part_fits() -> None:
    series = {f"series.with.a.long.name{{n={n}}}": (3, 0.1, 1 / 3, 2 / 3) for n in range(4_000)}
    whole = Summary(first=1, last=9, from_ms=0, until_ms=9, period_s=300, series=series)
    parts = portions(whole)
    assert len(parts) > 1
    assert all(len(encode(part.series)) <= SERIES_MAX_BYTES + 2 for part in parts)
    together = {name: known for part in parts for name, known in part.series.items()}
    assert together == series
    assert {(part.first, part.last) for part in parts} == {(1, 9)}


@given(
    st.lists(st.integers(1, 100), max_size=40),
    st.integers(0, 3000),
    st.integers(0, 50),
    st.integers(1, 20),
)
def test_enough_of_the_oldest_give_way_and_none_that_need_not(
    sizes: list[int], wanted: int, records: int, least: int
) -> None:
    held = list(enumerate(sizes, 1))
    count = oldest_sizes(held, bytes_wanted=wanted, records_wanted=records, at_least=least)
    freed = sum(sizes[:count])
    assert count == len(held) or (freed >= wanted and count >= max(records, least))
    before = count - 1
    assert count == 0 or sum(sizes[:before]) < wanted or before < max(records, least)


# Quotas


@given(
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), max_size=6), st.integers(0, 400)
)
def test_the_oldest_are_the_lowest_seqs(drawn: list[tuple[int, int]], count: int) -> None:
    kept = RangeSet((min(pair), max(pair)) for pair in drawn)
    seqs = [seq for first, last in kept for seq in range(first, last + 1)]
    found = [seq for first, last in oldest(kept.pairs(), count) for seq in range(first, last + 1)]
    assert found == seqs[:count]
    assert [nth(kept.pairs(), index) for index in range(len(seqs))] == seqs


@pytest.mark.parametrize(("held", "allowed", "gone"), [(10, 10, 0), (101, 100, 6), (5, 0, 5)])
def test_more_records_than_allowed_make_room_with_slack(held: int, allowed: int, gone: int) -> None:
    assert excess_records(held, allowed) == gone


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(0, 120), st.booleans())
def test_only_records_with_a_checked_clock_are_old_and_only_by_a_checked_clock(
    gaps: list[int], age_s: int, synced: bool
) -> None:
    times, ts = [], 0
    for gap in gaps:
        ts += gap * 1000
        times.append(ts)
    now = Timing(boot="b", up_ms=0, ts=ts, synced=synced)
    kept = [(1, len(times))] if times else []
    count = too_old(kept, now=now, max_age_s=age_s, timing_of=lambda seq: (times[seq - 1], True))
    expected = sum(time < ts - age_s * 1000 for time in times)
    assert count == (expected if synced else 0)
    assert too_old(kept, now=now, max_age_s=0, timing_of=lambda _seq: (0, False)) == 0
