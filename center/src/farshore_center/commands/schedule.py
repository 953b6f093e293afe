"""When to look at which unanswered target. Pure; in memory alone.

It only says where a look is due: what is true stands in the database and is read there before
anything is decided. An entry too many costs a look, so nothing needs to be taken out when an
answer comes.
"""

import heapq
from collections.abc import Iterable

Key = tuple[str, str]
"""Command id and node."""


class Schedule:
    def __init__(self) -> None:
        self._look_ms: dict[Key, int] = {}
        self._by_node: dict[str, set[str]] = {}
        # May hold entries that were moved or taken since; they are skipped when they come up.
        self._heap: list[tuple[int, Key]] = []

    def __len__(self) -> int:
        return len(self._look_ms)

    def put(self, key: Key, look_ms: int) -> None:
        """Sets when to look at a target next; the last word counts."""
        self._look_ms[key] = look_ms
        self._by_node.setdefault(key[1], set()).add(key[0])
        heapq.heappush(self._heap, (look_ms, key))

    def hurry(self, nodes: Iterable[str], now_ms: int) -> None:
        """Everything that waits for these nodes is due."""
        for node in nodes:
            for command_id in self._by_node.get(node, ()):
                self.put((command_id, node), now_ms)

    def hurry_all(self, now_ms: int) -> None:
        """Everything that waits is due."""
        self.hurry(list(self._by_node), now_ms)

    def take_due(self, now_ms: int, limit: int) -> list[Key]:
        """Up to `limit` targets whose time has come; they are out until they are put again."""
        due: list[Key] = []
        while self._heap and len(due) < limit:
            look_ms, key = self._heap[0]
            if self._look_ms.get(key) == look_ms:
                if look_ms > now_ms:
                    break
                due.append(key)
                self._forget(key)
            heapq.heappop(self._heap)
        return due

    def next_ms(self) -> int | None:
        """When the next look is due."""
        while self._heap and self._look_ms.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _forget(self, key: Key) -> None:
        del self._look_ms[key]
        commands = self._by_node[key[1]]
        commands.discard(key[0])
        if not commands:
            del self._by_node[key[1]]
