"""What a link is: MQTT 3.1.1, clean sessions, QoS 0 and 1, connecting again for as long as it runs.

Real MQTT (``mqtt.py``) and the in-memory bus (``memory.py``) pass the same conformance suite.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One MQTT message; ``payload`` at most ``codec.MAX_MESSAGE_BYTES``."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one connection is opened with."""

    client_id: str
    filters: tuple[str, ...] = ()
    will: Message | None = None
    keepalive_s: int = 60


class LinkHandler(Protocol):
    """Told by a link what happens. Every call is quick and synchronous: it only takes note."""

    def session(self, conn: int) -> Session:
        """The session for connection number ``conn`` (1, 2, 3 …), asked before each attempt."""
        ...

    def link_up(self, conn: int) -> None:
        """Connected, and every filter is subscribed."""
        ...

    def link_down(self, conn: int, reason: str) -> None:
        """The connection that was up is gone."""
        ...

    def received(self, message: Message) -> None: ...


class Link(Protocol):
    @property
    def connected(self) -> bool: ...

    async def run(self, handler: LinkHandler) -> None:
        """Connects, and connects again, until ``close``."""
        ...

    def publish(self, message: Message) -> bool:
        """Hands a message over; False, and nothing is kept, when there is no connection.

        True proves nothing beyond this process: what must arrive needs an answer of its receiver.
        """
        ...

    async def close(self, farewell: Message | None = None) -> None:
        """Says ``farewell`` if connected, then disconnects orderly, so that no will is published."""
        ...

    def reconnect(self, reason: str) -> None:
        """Drops the present connection without ceremony; ``run`` opens another."""
        ...
