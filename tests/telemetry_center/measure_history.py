"""Measures the promises of the telemetry history; prints JSON. Not a test: run it by hand.

    python tests/telemetry_center/measure_history.py [FOLDER]

80 plausible series every 5 s from one node: bytes per value in chunks against a table with a row
per value in the same run, batches per second through the group commit, and a query for one series
over 24 hours. The numbers in docs/decisions/0004-telemetry-chunks.md come from here.
"""

import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from farshore_center.db.database import Database
from farshore_center.telemetry import inbox, store
from farshore_center.telemetry.inbox import InboxRow
from farshore_center.telemetry.samples import Batch
from farshore_center.telemetry.service import TelemetryHistory

T0_MS = 1_763_830_000_000
INTERVAL_MS = 5000
PER_BATCH = 12
SERIES = 80
PRODUCERS = 64
BATCHES_PER_PRODUCER = 40

Column = npt.NDArray[np.float64]


def columns(rng: np.random.Generator, count: int) -> dict[str, Column]:
    """What a host reports: percentages, temperatures, counters, sizes, states, a noisy float."""

    def walk(step: float, decimals: int) -> Column:
        around = 50 + np.cumsum(rng.normal(0, step, count)) % 40
        return np.round(around, decimals)

    def counter(rate: int) -> Column:
        return np.cumsum(rng.integers(0, rate, count)).astype(np.float64)

    kinds: list[tuple[str, Callable[[], npt.NDArray[np.floating[Any]]]]] = [
        ("cpu.percent", lambda: walk(4, 1)),
        ("temperature.celsius", lambda: walk(0.2, 1)),
        ("net.io_bytes_total", lambda: counter(200_000)),
        ("disk.operations_total", lambda: counter(40)),
        ("mem.used_bytes", lambda: np.cumsum(rng.integers(-256, 257, count)) * 4096.0 + 3e9),
        ("mem.total_bytes", lambda: np.full(count, 8_322_412_544.0)),
        ("process.count", lambda: 210.0 + rng.integers(0, 4, count)),
        ("load.1m", lambda: np.round(np.abs(rng.normal(0.7, 0.2, count)), 2)),
        ("link.up", lambda: np.ones(count)),
        ("vibration.rms", lambda: rng.normal(1.0, 0.1, count)),
    ]
    made = {}
    for number in range(SERIES):
        name, make = kinds[number % len(kinds)]
        made[f"{name}{{unit={number // len(kinds)}}}"] = make().astype(np.float64)
    return made


def batches(hours: int) -> list[Batch]:
    rng = np.random.default_rng(1)
    count = hours * 3_600_000 // INTERVAL_MS
    made = columns(rng, count)
    jitter = rng.integers(0, 4, count)
    return [
        Batch(
            ts_ms=T0_MS + start * INTERVAL_MS,
            dt_ms=[n * INTERVAL_MS + int(jitter[start + n]) for n in range(PER_BATCH)],
            series={name: made[name][start : start + PER_BATCH].tolist() for name in made},
        )
        for start in range(0, count, PER_BATCH)
    ]


def naive_bytes_per_value(folder: Path, given: list[Batch]) -> float:
    path = folder / "naive.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE sample (node INTEGER, series INTEGER, t INTEGER, v REAL)")
    connection.execute("CREATE INDEX by_series ON sample (node, series, t)")
    rows = [
        (1, number, batch.ts_ms + offset, values[row])
        for batch in given
        for number, values in enumerate(batch.series.values())
        for row, offset in enumerate(batch.dt_ms)
    ]
    connection.executemany("INSERT INTO sample VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.execute("VACUUM")
    connection.close()
    return path.stat().st_size / len(rows)


async def fill(folder: Path, name: str, given: list[Batch]) -> tuple[Database, TelemetryHistory]:
    database = Database(f"sqlite:///{folder}/{name}/center.db")
    await database.start()
    rows = [inbox.pack("n1", batch, received_ms=T0_MS) for batch in given]
    await database.write(lambda connection: store.insert_batches(connection, rows))
    history = TelemetryHistory(database, lambda: T0_MS)
    return database, history


async def compact_hourly(database: Database, given: list[Batch]) -> float:
    """As the loop does it: 60 batches at a time, merging in between; returns seconds."""
    settings = store.CompactionSettings(max_batches=60)
    started = time.perf_counter()
    for _ in range(0, len(given), 60):
        for plan in (store.plan_compaction, store.plan_merge):
            rewrite = await database.read(partial(plan, node="n1", settings=settings))
            if rewrite is not None:
                await database.write(partial(store.apply, rewrite=rewrite))
    return time.perf_counter() - started


def _stored(path: Path) -> tuple[int, int, int]:
    connection = sqlite3.connect(path)
    chunks, size = connection.execute(
        "SELECT count(*), sum(payload_bytes) FROM telemetry_chunk"
    ).fetchone()
    connection.execute("VACUUM")
    connection.close()
    return chunks, size, path.stat().st_size


async def measure_size(folder: Path) -> dict[str, float]:
    given = batches(hours=1)
    values = len(given) * PER_BATCH * SERIES
    database, _history = await fill(folder, "hour", given)
    seconds = await compact_hourly(database, given)
    await database.stop()
    _chunks, size, _file = await asyncio.to_thread(_stored, folder / "hour" / "center.db")
    naive = await asyncio.to_thread(naive_bytes_per_value, folder, given)
    payload = sum(len(inbox.pack("n1", batch, received_ms=0).payload) for batch in given)
    return {
        "values": values,
        "chunk_bytes_per_value": round(size / values, 3),
        "row_per_value_bytes_per_value": round(naive, 2),
        "inbox_bytes_per_value": round(payload / values, 2),
        "compaction_values_per_s": round(values / seconds),
    }


async def measure_inserts(folder: Path) -> dict[str, float]:
    database = Database(f"sqlite:///{folder}/insert/center.db")
    await database.start()
    rows = [inbox.pack("n1", batch, received_ms=T0_MS) for batch in batches(hours=1)]
    before = database.stats()

    async def produce(row: InboxRow) -> None:
        for _ in range(BATCHES_PER_PRODUCER):
            await database.write(lambda connection: store.insert_batches(connection, [row]))

    started = time.perf_counter()
    await asyncio.gather(*(produce(rows[n % len(rows)]) for n in range(PRODUCERS)))
    seconds = time.perf_counter() - started
    after = database.stats()
    await database.stop()
    done = PRODUCERS * BATCHES_PER_PRODUCER
    return {
        "batches_per_s": round(done / seconds),
        "batches_per_commit": round(done / (after.transactions - before.transactions), 1),
        "values_per_s": round(done * PER_BATCH * SERIES / seconds),
        "slowest_commit_ms": round(after.commit_s_max * 1000, 2),
    }


async def measure_query(folder: Path) -> dict[str, float]:
    given = batches(hours=24)
    database, history = await fill(folder, "day", given)
    await compact_hourly(database, given)
    end_ms = T0_MS + 25 * 3_600_000
    times = []
    for _ in range(10):
        started = time.perf_counter()
        answer = await history.query("n1", ["cpu.percent{unit=3}"], T0_MS, end_ms)
        times.append(time.perf_counter() - started)
    points = sum(len(series["t"]) for series in answer.values())
    started = time.perf_counter()
    await history.query("n1", None, T0_MS, end_ms, step_ms=300_000)
    all_s = time.perf_counter() - started
    await database.stop()
    chunks, _size, file_bytes = await asyncio.to_thread(_stored, folder / "day" / "center.db")
    return {
        "points": points,
        "chunks": chunks,
        "file_bytes_per_value": round(file_bytes / (points * SERIES), 3),
        "one_series_median_ms": round(sorted(times)[len(times) // 2] * 1000, 1),
        "all_series_5m_step_ms": round(all_s * 1000, 1),
    }


async def measure(folder: Path) -> dict[str, dict[str, float]]:
    return {
        "size_1h": await measure_size(folder),
        "insert": await measure_inserts(folder),
        "query_24h": await measure_query(folder),
    }


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        json.dump(asyncio.run(measure(Path(folder))), sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
