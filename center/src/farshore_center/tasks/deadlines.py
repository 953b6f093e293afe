"""When to look at what: one heap of moments on the monotonic clock. Pure; in memory alone.

It only says where a look is due; what is true is read there. An entry too many costs a look.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    def __init__(self) -> None:
        self._at_s: dict[K, float] = {}
        # May hold entries that were moved or taken since; they are skipped when they come up.
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._at_s)

    def put(self, key: K, at_s: float) -> None:
        """The earliest of what was put since it was taken counts."""
        if at_s < self._at_s.get(key, float("inf")):
            self._at_s[key] = at_s
            self._count += 1
            heapq.heappush(self._heap, (at_s, self._count, key))

    def take_due(self, now_s: float, limit: int) -> list[K]:
        due: list[K] = []
        while self._heap and self._heap[0][0] <= now_s and len(due) < limit:
            at_s, _, key = heapq.heappop(self._heap)
            if self._at_s.get(key) == at_s:
                del self._at_s[key]
                due.append(key)
        return due

    def next_s(self) -> float | None:
        while self._heap and self._at_s.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
