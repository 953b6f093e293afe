"""Sets of positive integers as sorted, disjoint, closed ranges (as QUIC acknowledges: RFC 9000, 19.3).

The natural form for sequence numbers: a stream without losses is one range, however long.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """A mutable set of integers; each operation costs by the number of ranges, not of members."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int | None = None) -> int:
        """Adds ``first`` to ``last`` inclusive; how many of them are new."""
        last = first if last is None else last
        if first < 1 or last < first:
            raise ValueError(f"range {first}..{last}: expected 1 <= first <= last")
        # All ranges that touch or overlap [first - 1, last + 1] melt into one.
        low = bisect_left(self._ends, first - 1)
        high = bisect_right(self._starts, last + 1)
        new = last - first + 1
        if low < high:
            for i in range(low, high):
                overlap = min(last, self._ends[i]) - max(first, self._starts[i]) + 1
                new -= max(0, overlap)
            first = min(first, self._starts[low])
            last = max(last, self._ends[high - 1])
        self._starts[low:high] = [first]
        self._ends[low:high] = [last]
        return new

    def discard(self, first: int, last: int | None = None) -> int:
        """Takes ``first`` to ``last`` inclusive out; how many of them were there."""
        last = first if last is None else last
        if last < first:
            raise ValueError(f"range {first}..{last}: expected first <= last")
        low = bisect_left(self._ends, first)
        high = bisect_right(self._starts, last)
        gone = 0
        starts: list[int] = []
        ends: list[int] = []
        for i in range(low, high):
            start, end = self._starts[i], self._ends[i]
            gone += min(last, end) - max(first, start) + 1
            if start < first:
                starts.append(start)
                ends.append(first - 1)
            if end > last:
                starts.append(last + 1)
                ends.append(end)
        self._starts[low:high] = starts
        self._ends[low:high] = ends
        return gone

    def update(self, other: "RangeSet") -> None:
        for first, last in other:
            self.add(first, last)

    def missing(self, first: int, last: int) -> list[tuple[int, int]]:
        """The ranges of ``first..last`` that are not in the set."""
        gaps: list[tuple[int, int]] = []
        for i in range(bisect_left(self._ends, first), len(self._starts)):
            if first > last or self._starts[i] > last:
                break
            if self._starts[i] > first:
                gaps.append((first, self._starts[i] - 1))
            first = self._ends[i] + 1
        if first <= last:
            gaps.append((first, last))
        return gaps

    def within(self, first: int, last: int) -> list[tuple[int, int]]:
        """The parts of the set's ranges that lie in ``first..last``."""
        if last < first:
            return []
        low = bisect_left(self._ends, first)
        high = bisect_right(self._starts, last)
        return [(max(first, self._starts[i]), min(last, self._ends[i])) for i in range(low, high)]

    def pairs(self) -> list[tuple[int, int]]:
        return list(zip(self._starts, self._ends, strict=True))

    def copy(self) -> "RangeSet":
        twin = RangeSet()
        twin._starts = self._starts.copy()
        twin._ends = self._ends.copy()
        return twin

    @property
    def first(self) -> int:
        """The smallest member, 0 when empty."""
        return self._starts[0] if self._starts else 0

    @property
    def last(self) -> int:
        """The largest member, 0 when empty."""
        return self._ends[-1] if self._ends else 0

    def __contains__(self, seq: int) -> bool:
        i = bisect_left(self._ends, seq)
        return i < len(self._starts) and self._starts[i] <= seq

    def __len__(self) -> int:
        """How many members (not ranges)."""
        return sum(self._ends) - sum(self._starts) + len(self._starts)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.pairs())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RangeSet):
            return NotImplemented
        return self._starts == other._starts and self._ends == other._ends

    __hash__ = None  # type: ignore[assignment] # mutable

    def __repr__(self) -> str:
        return f"RangeSet({self.pairs()})"
