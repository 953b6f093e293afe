"""Looks into the outbox of this machine's agent while its link is cut: the file, read only."""

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from farshore_protocol.codec import decode
from farshore_protocol.errors import ProtocolError
from farshore_protocol.telemetry import TelemetryBatch, inflate
from farshore_protocol.telemetry.batch import MAX_INFLATED_BYTES

from farshore_sim.errors import DemoError


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Metric records that lie in an outbox; ``values``: what they hold of one series."""

    records: int
    last_seq: int
    values: tuple[float, ...]


def waiting(database: Path, series: str) -> Waiting:
    """Raises DemoError where the file can't be read."""
    try:
        with contextlib.closing(
            sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)
        ) as connection:
            rows = connection.execute(
                "SELECT seq, payload FROM record WHERE stream = 'metrics' ORDER BY seq"
            ).fetchall()
        batches = [_batch(payload) for _, payload in rows]
    except (sqlite3.Error, ProtocolError) as exc:
        raise DemoError(f"the outbox {database} can't be read: {exc}") from exc
    values = [value for batch in batches for value in batch.m.get(series, ()) if value is not None]
    return Waiting(records=len(rows), last_seq=rows[-1][0] if rows else 0, values=tuple(values))


def _batch(payload: bytes) -> TelemetryBatch:
    return decode(TelemetryBatch, inflate(payload), limit_bytes=MAX_INFLATED_BYTES)
