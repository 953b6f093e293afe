"""A batch as it lies in the inbox: packed when it is accepted, unpacked when it is read. Pure.

The payload is what came from the wire when the caller still has it (JSON, or zlib-compressed
JSON, with `dt` and `m` in it), or the same content packed here. The corrected time is not in the
payload but in the row, so a payload never has to be rewritten.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import orjson
import zstandard

from farshore_center.telemetry.errors import BatchError, ChunkError
from farshore_center.telemetry.samples import Batch, check_batch

_ZSTD_FIRST_BYTE = 0x28
_ZLIB_FIRST_BYTE = 0x78
_MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
_TIME_LIMIT_MS = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    """What is inserted for one batch."""

    node: str
    t0_ms: int
    t1_ms: int
    received_ms: int
    approximate: bool
    payload: bytes


def pack(node: str, batch: Batch, *, received_ms: int, wire: bytes | None = None) -> InboxRow:
    """The row of a batch; raises BatchError when it could not be read back.

    `wire` is the record's payload as it arrived, if the caller has it: it is stored as it is.
    Pack outside of the database's writer thread.
    """
    check_batch(batch)
    t0_ms = batch.ts_ms + min(batch.dt_ms)
    t1_ms = batch.ts_ms + max(batch.dt_ms)
    if not -_TIME_LIMIT_MS < t0_ms <= t1_ms < _TIME_LIMIT_MS:
        raise BatchError(f"the batch's time {batch.ts_ms} ms is no date")
    return InboxRow(
        node=node,
        t0_ms=t0_ms,
        t1_ms=t1_ms,
        received_ms=received_ms,
        approximate=batch.approximate,
        payload=_compress(batch) if wire is None else wire,
    )


def unpack(*, t0_ms: int, approximate: bool, payload: bytes) -> Batch:
    """The batch of a row; raises ChunkError for a damaged payload."""
    try:
        content: Any = orjson.loads(_decompress(payload))
        dt_ms, series = content["dt"], content["m"]
        batch = Batch(ts_ms=t0_ms - min(dt_ms), dt_ms=dt_ms, series=series, approximate=approximate)
        check_batch(batch)
    except (KeyError, TypeError, ValueError, AttributeError, zlib.error, BatchError) as exc:
        raise ChunkError(f"a stored batch is damaged: {exc}") from exc
    except zstandard.ZstdError as exc:
        raise ChunkError(f"a stored batch is damaged: {exc}") from exc
    return batch


def _compress(batch: Batch) -> bytes:
    # orjson writes NaN and the infinities, which the wire does not know, as null.
    text = orjson.dumps({"dt": list(batch.dt_ms), "m": dict(batch.series)})
    return zstandard.ZstdCompressor(level=1).compress(text)


def _decompress(payload: bytes) -> bytes:
    first = payload[0] if payload else 0
    if first == _ZSTD_FIRST_BYTE:
        return zstandard.ZstdDecompressor().decompress(payload, max_output_size=_MAX_PAYLOAD_BYTES)
    if first == _ZLIB_FIRST_BYTE:
        stream = zlib.decompressobj()
        text = stream.decompress(payload, _MAX_PAYLOAD_BYTES)
        if not stream.eof:
            raise ValueError("the compressed payload is cut off or too large")
        return text
    return payload
