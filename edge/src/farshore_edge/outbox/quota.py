"""Which records are given up when the outbox is too large. Pure.

Only ``metrics`` give way, the oldest first; results, events and reports never.
"""

from collections.abc import Sequence

SLACK = 0.05
"""Room that is made beyond the quota, so that not every record has to make room for itself."""


METRICS_SHARE = 0.1
"""Of the quota that metrics keep, however much the other streams hold."""


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
    ranges = []
    for first, last in kept:
        if wanted <= 0:
            break
        last = min(last, first + wanted - 1)
        ranges.append((first, last))
        wanted -= last - first + 1
    return ranges
