"""Putting records into their envelope, and the marks that one gets when it is sent."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from farshore_protocol.codec import MAX_MESSAGE_BYTES, encode
from farshore_protocol.errors import LocalProtocolError
from farshore_protocol.telemetry import inflate, pack_body
from farshore_protocol.telemetry.batch import MAX_INFLATED_BYTES

from farshore_edge.errors import RecordError

_BACKLOG = b',"hist":true}'
_UNANSWERED = b',"unanswered":true}'
_MARK_ROOM = 64
"""What the marks may add, compressed or not."""
_PAYLOAD_MAX = MAX_MESSAGE_BYTES - _MARK_ROOM
_PLAIN_MAX = MAX_INFLATED_BYTES - _MARK_ROOM


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
    return seal_all([body], epoch=epoch, first=seq, timing=timing, compress=compress)[0]


def seal_all(
    bodies: Iterable[dict[str, Any]],
    *,
    epoch: str,
    first: int,
    timing: dict[str, Any],
    compress: bool,
) -> list[bytes]:
    """The payloads of records that follow each other; all that they share is encoded once."""
    before = b'{"epoch":' + encode(epoch) + b',"seq":'
    behind = b"," + encode(timing)[1:-1]
    try:
        plains = [
            b"".join((before, b"%d" % seq, behind, _rest(encode(body))))
            for seq, body in enumerate(bodies, first)
        ]
    except LocalProtocolError as exc:
        raise RecordError(str(exc)) from exc
    payloads = [pack_body(plain) for plain in plains] if compress else plains
    if max(map(len, payloads)) > _PAYLOAD_MAX or max(map(len, plains)) > _PLAIN_MAX:
        raise RecordError(f"{max(map(len, payloads))} bytes, expected {_PAYLOAD_MAX} or fewer")
    return payloads


def _rest(body: bytes) -> bytes:
    """The fields of an encoded object, to stand behind others."""
    return b"}" if body == b"{}" else b"," + body[1:]


def as_backlog(payload: bytes) -> bytes:
    """The same record with ``"hist":true``; its other bytes stay as they were.

    Raises MessageError for a payload that is damaged.
    """
    return _marked(payload, _BACKLOG)


def as_unanswered(payload: bytes) -> bytes:
    """The same record with ``"unanswered":true``: for whoever listens, not for the center's books.

    Raises MessageError for a payload that is damaged.
    """
    return _marked(payload, _UNANSWERED)


def without_marks(payload: bytes) -> bytes:
    """The record as it was sealed; a payload without a mark is answered as it is."""
    plain = bare = inflate(payload)
    for mark in (_UNANSWERED, _BACKLOG):
        if bare.endswith(mark):
            bare = bare[: -len(mark)] + b"}"
    if bare is plain:
        return payload
    return bare if plain is payload else pack_body(bare)


def _marked(payload: bytes, mark: bytes) -> bytes:
    plain = inflate(payload)
    marked = plain[:-1] + mark
    return marked if plain is payload else pack_body(marked)
