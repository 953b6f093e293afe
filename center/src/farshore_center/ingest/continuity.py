"""What ingest knows of time going backwards: at the center, which was restored, and at a node."""

from collections.abc import Sequence
from typing import Any, Protocol

import structlog
from farshore_protocol.messages import CenterMark
from sqlalchemy import Connection

from farshore_center.events.model import Draft
from farshore_center.ingest.engine import Key

log = structlog.get_logger(__name__)


class Identity(Protocol):
    """How far the center's database has come, and what a restore has taken from it."""

    def mark(self) -> CenterMark: ...

    def advance(self, connection: Connection, /) -> int: ...

    def advanced(self, generation: int, /) -> None: ...

    def save_missing(
        self, connection: Connection, found: Sequence[tuple[str, list[dict[str, Any]]]], /
    ) -> None: ...

    def noted_missing(self, found: Sequence[tuple[str, list[dict[str, Any]]]], /) -> None: ...

    def lost_head(self, node: str, stream: str, epoch: str, /) -> int: ...


class NoIdentity:
    """Where nobody keeps an identity: a bench, a test of ingest alone."""

    def mark(self) -> CenterMark:
        return ("none", "none", 0)

    def advance(self, _connection: Connection) -> int:
        return 0

    def advanced(self, _generation: int) -> None: ...

    def save_missing(self, _connection: Connection, _found: object) -> None: ...

    def noted_missing(self, _found: object) -> None: ...

    def lost_head(self, _node: str, _stream: str, _epoch: str) -> int:
        return 0


def behind(key: Key, head: int, known: int) -> Draft:
    """A node that has counted less far than the center knows has an older disk than it had."""
    node, stream, epoch = key
    data = {"stream": stream, "epoch": epoch, "head": head, "known_head": known}
    log.error("a node's disk has gone back in time", node=node, **data)
    return Draft(kind="stream.behind", node=node, data=data)
