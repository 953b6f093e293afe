"""Bytes for a sample value in the center's history, against a table with a row for each value;
and how fast it takes batches in and answers queries. Figures, no promise.

An hour of 80 plausible series of one node, every 5 s, for the sizes; a day of them for the query.
"""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from farshore_center.db.database import Database
from farshore_center.telemetry import inbox, store
from farshore_center.telemetry.inbox import InboxRow
from farshore_center.telemetry.samples import Batch
from farshore_center.telemetry.service import TelemetryHistory

from bench.context import Context
from bench.model import Figure, Outcome, Runs
from bench.samples import PER_BATCH, SERIES, T0_MS, an_hour, batches

NODE = "n1"
PRODUCERS = 64
BATCHES_PER_PRODUCER = 40
ASKED = "cpu.percent{unit=3}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes of the database file, whole and compact, for the same values; ``inbox``: of the
    payloads as they wait for compaction."""

    values: int
    history: int
    row_per_value: int
    inbox: int
    compaction_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """``hours``: how much of one series a query answers, raw; ``query_s``: query by query."""

    batches_per_s: float
    hours: int
    query_s: tuple[float, ...]


def summarise(sizes: Sizes, speed: Speed) -> Outcome:
    def one(name: str, what: str, unit: str, *values: float) -> Figure:
        return Figure(name=f"telemetry.{name}", what=what, unit=unit, runs=Runs.of(values))

    history, rows = sizes.history / sizes.values, sizes.row_per_value / sizes.values
    compaction = sizes.values / sizes.compaction_s
    query = f"{speed.hours} h of one series of {SERIES}, raw"
    return Outcome(
        measure="telemetry",
        figures=(
            one("history", "a sample value in the history", "bytes", history),
            one("row_per_value", "the same in a row for each value", "bytes", rows),
            one("ratio", "how much smaller the history is", "×", rows / history),
            one("inbox", "a sample value before compaction", "bytes", sizes.inbox / sizes.values),
            one("compaction", "compaction, one thread", "values/s", compaction),
            one("batches", "batches committed, each waited for", "batches/s", speed.batches_per_s),
            one("query", query, "ms", *(seconds * 1000 for seconds in speed.query_s)),
        ),
    )


async def run(context: Context) -> Outcome:
    folder = context.folder("telemetry")
    context.say(f"an hour of {SERIES} series is stored in two ways")
    given = await asyncio.to_thread(batches, an_hour())
    sizes = await _sizes(folder, given)
    context.say(f"{PRODUCERS} writers commit batches")
    batches_per_s = await _insert(folder / "insert.db", given)
    hours = 6 if context.quick else 24
    context.say(f"{hours} h are stored and queried")
    query_s = await _query(folder / "query.db", hours)
    return summarise(sizes, Speed(batches_per_s=batches_per_s, hours=hours, query_s=query_s))


async def _sizes(folder: Path, given: Sequence[Batch]) -> Sizes:
    path = folder / "history.db"
    database = await _started(path)
    empty = await asyncio.to_thread(_vacuumed_bytes, path)
    compaction_s = await _fill(database, given)
    await database.stop()
    return Sizes(
        values=len(given) * PER_BATCH * SERIES,
        history=await asyncio.to_thread(_vacuumed_bytes, path) - empty,
        row_per_value=await asyncio.to_thread(_row_per_value, folder / "rows.db", given),
        inbox=sum(len(row.payload) for row in _packed(given)),
        compaction_s=compaction_s,
    )


def _packed(given: Sequence[Batch]) -> list[InboxRow]:
    return [inbox.pack(NODE, batch, received_ms=T0_MS) for batch in given]


async def _started(path: Path) -> Database:
    database = Database(f"sqlite:///{path}")
    await database.start()
    return database


async def _fill(database: Database, given: Sequence[Batch]) -> float:
    """Stores and compacts as the center's loop does it; how long compacting took."""
    rows = _packed(given)
    await database.write(lambda connection: store.insert_batches(connection, rows))
    settings = store.CompactionSettings(max_batches=60)
    started = time.perf_counter()
    for _ in range(0, len(given), 60):
        for plan in (store.plan_compaction, store.plan_merge):
            rewrite = await database.read(partial(plan, node=NODE, settings=settings))
            if rewrite is not None:
                await database.write(partial(store.apply, rewrite=rewrite))
    return time.perf_counter() - started


async def _insert(path: Path, given: Sequence[Batch]) -> float:
    """Batches a second through the group commit; each writer waits for its own commit."""
    database = await _started(path)
    rows = _packed(given)

    async def produce(row: InboxRow) -> None:
        for _ in range(BATCHES_PER_PRODUCER):
            await database.write(lambda connection: store.insert_batches(connection, [row]))

    started = time.perf_counter()
    await asyncio.gather(*(produce(rows[n % len(rows)]) for n in range(PRODUCERS)))
    seconds = time.perf_counter() - started
    await database.stop()
    return PRODUCERS * BATCHES_PER_PRODUCER / seconds


async def _query(path: Path, hours: int) -> tuple[float, ...]:
    database = await _started(path)
    await _fill(database, await asyncio.to_thread(batches, hours * an_hour()))
    history = TelemetryHistory(database, lambda: T0_MS)
    times = []
    for _ in range(10):
        started = time.perf_counter()
        await history.query(NODE, [ASKED], T0_MS, T0_MS + (hours + 1) * 3_600_000)
        times.append(time.perf_counter() - started)
    await database.stop()
    return tuple(times)


def _row_per_value(path: Path, given: Sequence[Batch]) -> int:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE sample (node INTEGER, series INTEGER, t INTEGER, v REAL)")
    connection.execute("CREATE INDEX by_series ON sample (node, series, t)")
    connection.executemany(
        "INSERT INTO sample VALUES (?, ?, ?, ?)",
        (
            (1, number, batch.ts_ms + offset, values[row])
            for batch in given
            for number, values in enumerate(batch.series.values())
            for row, offset in enumerate(batch.dt_ms)
        ),
    )
    connection.commit()
    connection.close()
    return _vacuumed_bytes(path)


def _vacuumed_bytes(path: Path) -> int:
    connection = sqlite3.connect(path)
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size
