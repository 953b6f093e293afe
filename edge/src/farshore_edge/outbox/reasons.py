"""Why records that the center asks for can't be sent. Pure."""

from collections.abc import Iterable, Sequence

from farshore_protocol.stream import RESTORED, RangeSet

from farshore_edge.database import Loss

NOT_KEPT = "not kept any more"
LOST_BY_THE_CENTER = "acknowledged to a center that was restored since"

Ranges = Sequence[tuple[int, int]]


def reasons(
    stream: str,
    epoch: str,
    ranges: Ranges,
    ledger: Iterable[Loss],
    *,
    because: str | None,
) -> list[tuple[str, Ranges]]:
    """The ranges by their reasons: what the node's own ledger says of them, or else that they were
    acknowledged once."""
    left, found = RangeSet(ranges), dict[str, RangeSet]()
    if not left:
        return []
    for line in ledger:
        if (line.stream, line.epoch) == (stream, epoch):
            for first, last in left.within(line.first, line.last):
                left.discard(first, last)
                found.setdefault(line.reason, RangeSet()).add(first, last)
    if left:
        otherwise = LOST_BY_THE_CENTER if because == RESTORED else NOT_KEPT
        found.setdefault(otherwise, RangeSet()).update(left)
    return [(reason, part.pairs()) for reason, part in found.items()]
