"""Putting records into their envelope, and marking one that is sent from the backlog."""

from dataclasses import dataclass
from typing import Any

from farshore_protocol.codec import MAX_MESSAGE_BYTES, encode
from farshore_protocol.errors import LocalProtocolError
from farshore_protocol.telemetry import inflate, pack_body
from farshore_protocol.telemetry.batch import MAX_INFLATED_BYTES

from farshore_edge.errors import RecordError

_MARK = b',"hist":true}'
_MARK_ROOM = 64
"""What the mark may add, compressed or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When something was: see ``farshore_protocol.messages.record``."""

    boot: str
    up_ms: int
    ts: int
    synced: bool

    def fields(self) -> dict[str, Any]:
        return {"boot": self.boot, "up_ms": self.up_ms, "ts": self.ts, "synced": self.synced}


def seal(
    body: dict[str, Any], *, epoch: str, seq: int, timing: dict[str, Any], compress: bool
) -> bytes:
    """A record's payload: the envelope's fields, then the body's; ``compress``: where that pays.

    Raises RecordError for what the center could never take: it would be sent again for ever.
    """
    try:
        plain = encode({"epoch": epoch, "seq": seq, **timing, **body})
    except LocalProtocolError as exc:
        raise RecordError(str(exc)) from exc
    payload = pack_body(plain) if compress else plain
    if (
        len(payload) > MAX_MESSAGE_BYTES - _MARK_ROOM
        or len(plain) > MAX_INFLATED_BYTES - _MARK_ROOM
    ):
        raise RecordError(
            f"{len(payload)} bytes, expected {MAX_MESSAGE_BYTES - _MARK_ROOM} or fewer"
        )
    return payload


def as_backlog(payload: bytes) -> bytes:
    """The same record with ``"hist":true``; its other bytes stay as they were.

    Raises MessageError for a payload that is damaged.
    """
    plain = inflate(payload)
    marked = plain[:-1] + _MARK
    return marked if plain is payload else pack_body(marked)
