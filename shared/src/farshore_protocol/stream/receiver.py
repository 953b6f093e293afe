"""The receiving side of one (node, stream, epoch): what was accepted, what is missing, what is lost.

Pure: the caller passes the time and persists what changes in the transaction that stores records.
"""

from collections.abc import Iterable

from farshore_protocol.stream.model import MAX_RANGES
from farshore_protocol.stream.ranges import RangeSet


class Book:
    """The book of one epoch of one stream.

    ``accepted``: stored exactly once; ``lost``: declared lost by the node (or refused, with its
    reason in the ledger); ``head``: the highest seq that the node is known to have made.
    """

    __slots__ = ("_asked_at", "_open_since", "accepted", "duplicates", "head", "lost")

    def __init__(
        self,
        *,
        accepted: Iterable[tuple[int, int]] = (),
        lost: Iterable[tuple[int, int]] = (),
        duplicates: int = 0,
        head: int = 0,
    ) -> None:
        self.accepted = RangeSet(accepted)
        self.lost = RangeSet(lost)
        self.duplicates = duplicates
        self.head = max(head, self.accepted.last, self.lost.last)
        self._open_since: dict[int, float] = {}
        self._asked_at: dict[int, float] = {}

    def accept(self, seq: int) -> bool:
        """Whether the record is new; one that is here already is counted and not to be stored.

        A record that was declared lost and comes after all is new: arrival beats the declaration.
        """
        if self.accepted.add(seq) == 0:
            self.duplicates += 1
            return False
        self.lost.discard(seq)
        self.head = max(self.head, seq)
        return True

    def declare_lost(self, first: int, last: int) -> list[tuple[int, int]]:
        """The parts of ``first..last`` that are newly lost: what was accepted is never lost."""
        news = []
        for gap_first, gap_last in self.accepted.missing(first, last):
            for part in self.lost.missing(gap_first, gap_last):
                self.lost.add(*part)
                news.append(part)
        self.head = max(self.head, self.lost.last)
        return news

    def announce(self, head: int) -> None:
        """The node says how far it has counted."""
        self.head = max(self.head, head)

    def settled(self) -> RangeSet:
        """What the node need not keep: accepted or lost."""
        both = self.accepted.copy()
        both.update(self.lost)
        return both

    def acknowledgement(self, limit: int = MAX_RANGES) -> tuple[tuple[int, int], ...]:
        """All that is settled as ranges; of more than ``limit``, the lowest one and the newest."""
        pairs = self.settled().pairs()
        if len(pairs) <= limit:
            return tuple(pairs)
        return (pairs[0], *pairs[len(pairs) - limit + 1 :])

    def holes(self) -> list[tuple[int, int]]:
        """What the node has made and the center neither has nor knows to be lost."""
        return self.settled().missing(1, self.head) if self.head else []

    def complete(self) -> bool:
        return not self.holes()

    def resends(
        self, now_s: float, *, open_s: float, again_s: float, limit: int = 32
    ) -> tuple[tuple[int, int], ...]:
        """Holes that have stayed open for ``open_s``, asked for again every ``again_s``."""
        holes = self.holes()
        firsts = {first for first, _ in holes}
        for memory in (self._open_since, self._asked_at):
            for first in [first for first in memory if first not in firsts]:
                del memory[first]
        due = []
        for first, last in holes:
            since = self._open_since.setdefault(first, now_s)
            asked = self._asked_at.get(first)
            if now_s - since >= open_s and (asked is None or now_s - asked >= again_s):
                due.append((first, last))
                self._asked_at[first] = now_s
                if len(due) == limit:
                    break
        return tuple(due)
