"""Which connection speaks for a client id, and how one takes over from another.

A newer connection of the same client id wins at once (MQTT-3.1.4-2), then waits for the older
one's end, so that the old will is out before the new one is told that it is connected. An older
connection that ends can only ever remove itself.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


@dataclass(slots=True)
class Traffic:
    """What all connections together have moved."""

    delivered: int = 0
    dropped: int = 0
    bytes_received: int = 0
    bytes_sent: int = 0


class _Ending(Protocol):
    @property
    def ended(self) -> asyncio.Event: ...

    def abort(self, reason: str) -> None: ...


C = TypeVar("C", bound=_Ending)


class Registry(Generic[C]):
    """The connected clients, and the counters of their connections."""

    def __init__(self) -> None:
        self._by_id: dict[str, C] = {}
        self.closed: Counter[str] = Counter()
        self.connects = 0
        self.traffic = Traffic()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[C]:
        return iter(tuple(self._by_id.values()))

    def get(self, client_id: str) -> C | None:
        return self._by_id.get(client_id)

    async def enter(self, client_id: str, connection: C, patience_s: float) -> None:
        """Make ``connection`` the one for ``client_id``; returns when its forerunner has ended.

        A forerunner that can't end in time (its ingest is stuck) is not waited for: it has been
        cut, and what it still does is acknowledged to nobody.
        """
        self.connects += 1
        older = self._by_id.get(client_id)
        self._by_id[client_id] = connection
        if older is None:
            return
        older.abort("taken_over")
        try:
            async with asyncio.timeout(patience_s):
                await older.ended.wait()
        except TimeoutError:
            return

    def leave(self, client_id: str, connection: C) -> None:
        if self._by_id.get(client_id) is connection:
            del self._by_id[client_id]
