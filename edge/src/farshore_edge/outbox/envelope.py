"""Putting records into their envelope, and marking one that is sent from the backlog."""

from typing import Any

from farshore_protocol.codec import encode
from farshore_protocol.telemetry import inflate, pack_body


def seal(
    body: dict[str, Any], *, epoch: str, seq: int, timing: dict[str, Any], compress: bool
) -> bytes:
    """A record's payload: the envelope's fields, then the body's; ``compress``: where that pays."""
    payload = encode({"epoch": epoch, "seq": seq, **timing, **body})
    return pack_body(payload) if compress else payload


def as_backlog(payload: bytes) -> bytes:
    """The same record with ``"hist":true``; its other bytes stay as they were."""
    plain = inflate(payload)
    marked = plain[:-1] + b',"hist":true}'
    return marked if plain is payload else pack_body(marked)
