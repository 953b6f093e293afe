"""What remains of metrics that must give way: count, least, greatest and mean of each series. Pure.

A run of batches becomes summaries, one for each period that it touches; summaries become coarser
ones. The oldest go first, and never a newer record before an older one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from farshore_protocol.codec import encode

PERIODS_S = (300, 3_600, 86_400)
"""Each thinning of the same data takes the next one; there is none after the last."""
SERIES_MAX_BYTES = 88 * 1024
"""Of one record, as JSON; the rest of the message is for the envelope and the range."""

Stats = tuple[int, float, float, float]
"""Count, min, max, mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A record of metrics: sample ``i`` was taken at ``ts + dt[i]``; what is no number is none."""

    seq: int
    size: int
    ts: int
    dt: Sequence[int]
    m: Mapping[str, Sequence[float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What remains of the records ``first`` to ``last``, which lay in one period."""

    first: int
    last: int
    from_ms: int
    until_ms: int
    period_s: int
    series: Mapping[str, Stats] = field(default_factory=dict)

    @property
    def slot(self) -> int:
        return self.from_ms // (self.period_s * 1000)


def stats(values: Iterable[float | None]) -> Stats | None:
    known = [float(value) for value in values if value is not None]
    if not known:
        return None
    low, high, count = min(known), max(known), len(known)
    # Divided first: values near the end of the range of floats stay finite.
    mean = math.fsum(value / count for value in known)
    return count, low, high, min(max(mean, low), high)


def both(one: Stats | None, other: Stats | None) -> Stats | None:
    if one is None or other is None:
        return one or other
    count = one[0] + other[0]
    mean = one[3] * (one[0] / count) + other[3] * (other[0] / count)
    low, high = min(one[1], other[1]), max(one[2], other[2])
    return count, low, high, min(max(mean, low), high)


def summarise(batches: Sequence[Batch], period_s: int = PERIODS_S[0]) -> list[Summary]:
    """One summary for each run of batches that began in the same period; ascending by seq."""
    found: list[Summary] = []
    for batch in batches:
        one = _of(batch, period_s)
        if found and found[-1].slot == one.slot:
            found[-1] = merged([found[-1], one], period_s)
        else:
            found.append(one)
    return found


def _of(batch: Batch, period_s: int) -> Summary:
    series = {name: known for name, values in batch.m.items() if (known := stats(values))}
    offsets = batch.dt or (0,)
    return Summary(
        first=batch.seq,
        last=batch.seq,
        from_ms=batch.ts + min(offsets),
        until_ms=batch.ts + max(offsets),
        period_s=period_s,
        series=series,
    )


def merged(parts: Sequence[Summary], period_s: int) -> Summary:
    series: dict[str, Stats] = {}
    for part in parts:
        for name, known in part.series.items():
            together = both(series.get(name), known)
            if together is not None:
                series[name] = together
    return Summary(
        first=min(part.first for part in parts),
        last=max(part.last for part in parts),
        from_ms=min(part.from_ms for part in parts),
        until_ms=max(part.until_ms for part in parts),
        period_s=period_s,
        series=series,
    )


def next_period_s(period_s: int) -> int:
    return next(longer for longer in PERIODS_S if longer > period_s)


def coarser(summaries: Sequence[Summary]) -> list[list[Summary]]:
    """Neighbours, ascending by seq, that become one in the next period: two or more each.

    Of the finest that there are: what is densest gives way first.
    """
    finest = min((part.period_s for part in summaries), default=PERIODS_S[-1])
    if finest == PERIODS_S[-1]:
        return []
    period_s = next_period_s(finest)
    groups: dict[int, list[Summary]] = {}
    for part in summaries:
        if part.period_s == finest:
            groups.setdefault(replace(part, period_s=period_s).slot, []).append(part)
    return [group for group in groups.values() if len(group) > 1]


def portions(summary: Summary) -> list[Summary]:
    """The summary in parts that fit into a record each, by series."""
    parts: list[dict[str, Stats]] = [{}]
    room = SERIES_MAX_BYTES
    for name, known in summary.series.items():
        size = len(encode({name: known}))
        if size > room and parts[-1]:
            parts.append({})
            room = SERIES_MAX_BYTES
        parts[-1][name] = known
        room -= size
    return [replace(summary, series=part) for part in parts]


def oldest(
    sizes: Sequence[tuple[int, int]], *, bytes_wanted: int, records_wanted: int, at_least: int
) -> int:
    """How many of the records, (seq, size) ascending, must give way; the oldest do."""
    freed = count = 0
    for _, size in sizes:
        if freed >= bytes_wanted and count >= max(records_wanted, at_least):
            break
        freed += size
        count += 1
    return count
