"""A batch of samples, columnar: offsets in ``dt``, one list of values per series in ``m``.

A payload above 1 KB may be zlib-compressed (RFC 1950); JSON begins with ``{``, zlib with 0x78.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.errors import MessageError
from farshore_protocol.messages.record import Envelope, WallMillis

COMPRESS_ABOVE_BYTES = 1024
MAX_INFLATED_BYTES = 20 * MAX_MESSAGE_BYTES
"""The limit to decode an inflated batch with."""
_ZLIB_FIRST = 0x78


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryBatch(Envelope):
    """``tel/<set>``: sample ``i`` was taken ``dt[i]`` ms after ``ts``; a value may be null."""

    dt: list[WallMillis]
    m: dict[str, list[float | None]]


def check_batch(batch: TelemetryBatch) -> TelemetryBatch:
    """The batch itself, if every series is as long as ``dt``; else MessageError ``bad_message``."""
    for series, values in batch.m.items():
        if len(values) != len(batch.dt):
            raise MessageError(
                "bad_message",
                f"TelemetryBatch: {len(values)} values - at `$.m[{series[:80]!r}]`, "
                f"expected {len(batch.dt)}, as many as `$.dt`",
            )
    return batch


def columns(samples: Sequence[dict[str, float]]) -> dict[str, list[float | None]]:
    """Samples, each a mapping of series to value, as columns; absent values become null."""
    names = dict.fromkeys(name for sample in samples for name in sample)
    return {name: [sample.get(name) for sample in samples] for name in names}


def pack_body(payload: bytes) -> bytes:
    """The payload as it travels: compressed when that is allowed and smaller."""
    if len(payload) <= COMPRESS_ABOVE_BYTES:
        return payload
    packed = zlib.compress(payload, 6)
    return packed if len(packed) < len(payload) else payload


def inflate(payload: bytes) -> bytes:
    """The inverse of ``pack_body``; a bomb or a torn stream is a MessageError ``bad_zlib``."""
    if not payload or payload[0] != _ZLIB_FIRST:
        return payload
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(payload, MAX_INFLATED_BYTES + 1)
    except zlib.error as exc:
        raise MessageError("bad_zlib", f"compressed payload: {exc}") from exc
    if not unpacker.eof or unpacker.unused_data or len(plain) > MAX_INFLATED_BYTES:
        raise MessageError(
            "bad_zlib",
            f"compressed payload: torn, with a tail, or more than {MAX_INFLATED_BYTES} bytes inflated",
        )
    return plain
