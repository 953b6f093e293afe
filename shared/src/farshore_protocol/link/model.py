"""What a link is: MQTT 3.1.1, clean sessions, QoS 0 and 1, connecting again for as long as it runs.

Real MQTT (``mqtt.py``) and the in-memory bus (``memory.py``) pass the same conformance suite.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One MQTT message; ``payload`` at most ``codec.MAX_MESSAGE_BYTES``."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What one connection is opened with; ``keepalive_s``: at least 1."""

    client_id: str
    filters: tuple[str, ...] = ()
    will: Message | None = None
    keepalive_s: int = 60


class LinkHandler(Protocol):
    """Told by a link what happens. Every call is quick and synchronous: it only takes note.

    What ``link_up``, ``link_down`` or ``received`` raises is logged and costs the link nothing; what
    ``session`` raises ends ``run``. Each ``link_up`` is followed by one ``link_down`` of the same
    ``conn``, and messages come only in between: retained ones too, however early the broker sends
    them.
    """

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
        """Connects, and connects again, until ``close``.

        When it is cancelled, the connection is lost without a word, and its will is published.
        """
        ...

    def publish(self, message: Message) -> bool:
        """Hands a message over; False, and nothing is kept, when there is no connection.

        True proves nothing beyond this process: what must arrive needs an answer of its receiver.
        """
        ...

    @property
    def congested(self) -> bool:
        """Whether what was handed over before is still waiting to be written: what is worth nothing
        later (QoS 0) is better left out then."""
        ...

    async def close(self, farewell: Message | None = None) -> None:
        """Says ``farewell`` if connected, then disconnects orderly, so that no will is published."""
        ...

    def reconnect(self, reason: str) -> None:
        """Drops the present connection without ceremony; ``run`` opens another."""
        ...


def tell(call: Callable[..., None], *what: object) -> None:
    """One call of a handler; what it raises is logged."""
    try:
        call(*what)
    except Exception:
        log.exception("the link's handler failed", extra={"call": call.__name__})
