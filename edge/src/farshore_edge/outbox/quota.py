"""What each stream may hold, and which records are given up when it holds more. Pure.

The quota in bytes of all streams together is borne by metrics alone; beyond that each stream has
bounds of its own. Where a record is given up, the oldest goes first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from farshore_edge.outbox.envelope import Timing

SLACK = 0.05
"""Room that is made beyond the quota, so that not every record has to make room for itself."""


METRICS_SHARE = 0.1
"""Of the quota that metrics keep, however much the other streams hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """``max_age_s`` counts only while both the record's clock and the present one are checked."""

    max_bytes: int
    max_records: int
    max_age_s: float


def allowed_bytes(max_bytes: int, *, others: int) -> int:
    """What metrics may hold: the quota is for all streams, and they alone give way."""
    return max(int(max_bytes * METRICS_SHARE), max_bytes - others)


def give_up(
    kept: Sequence[tuple[int, int]], *, bytes_held: int, bytes_allowed: int
) -> list[tuple[int, int]]:
    """The oldest ranges whose share of ``bytes_held`` brings it below the quota less slack.

    Sizes are taken as even within the stream; an error is mended by the next call.
    """
    if bytes_held <= bytes_allowed:
        return []
    count = sum(last - first + 1 for first, last in kept)
    excess = bytes_held - bytes_allowed * (1 - SLACK)
    wanted = min(count, max(1, round(count * excess / bytes_held)))
    return oldest(kept, wanted)


def oldest(kept: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """The ``count`` lowest seqs of what is kept, as ranges."""
    ranges = []
    for first, last in kept:
        if count <= 0:
            break
        last = min(last, first + count - 1)
        ranges.append((first, last))
        count -= last - first + 1
    return ranges


def excess_records(held: int, allowed: int) -> int:
    """How many records must go, with slack; 0 when there is room."""
    return 0 if held <= allowed else held - int(allowed * (1 - SLACK))


def too_old(
    kept: Sequence[tuple[int, int]],
    *,
    now: Timing,
    max_age_s: float,
    timing_of: Callable[[int], tuple[int, bool] | None],
) -> int:
    """How many of the oldest records are older than that; ``timing_of``: a seq's ts and synced.

    Records are made in the order of their seqs, so the last old one is searched for by halves; one
    whose clock was not checked counts as its neighbour before it does.
    """
    if not now.synced:
        return 0
    limit_ms = now.ts - max_age_s * 1000
    low, high = 0, sum(last - first + 1 for first, last in kept)
    while low < high:
        middle = (low + high) // 2
        timing = timing_of(nth(kept, middle))
        if timing is not None and timing[1] and timing[0] < limit_ms:
            low = middle + 1
        else:
            high = middle
    return low


def nth(kept: Sequence[tuple[int, int]], index: int) -> int:
    """The seq that ``index`` others are below."""
    for first, last in kept:
        if index <= last - first:
            return first + index
        index -= last - first + 1
    raise IndexError(index)
