"""The center's ingest on trial by power loss: what it has acknowledged must be stored, once.

As a program it does the workload: nodes submit records in waves, and every acknowledgement that goes
down is a mark. The check opens the files as a center does and compares books with what is stored.
"""

import argparse
import asyncio
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events import EventLog
from farshore_center.ingest import store
from farshore_center.ingest.arrival import Arrival, read
from farshore_center.ingest.rejected import RejectedList
from farshore_center.ingest.service import IngestService, IngestSettings
from farshore_center.telemetry.service import TelemetryHistory
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.topics import Up, parse
from farshore_sim.faults.powerloss import Load
from farshore_sim.faults.pragmas import override
from sqlalchemy import Connection, text

FILE = "center.db"
NODES = ("pi-1", "pi-2", "pi-3")
EPOCH = "ep0ch"

BEGAN_MS = ManualClock().now_ms()

Stored = dict[tuple[str, str], list[int]]
"""Sequence numbers by node and stream."""


class CenterWorkload:
    files: Sequence[str] = (FILE, FILE + "-wal", FILE + "-journal")
    rubbish: Sequence[str] = (FILE + "-shm",)

    def __init__(self, load: Load) -> None:
        self._load = load

    def argv(self, folder: Path, marks: Path) -> list[str]:
        load = self._load
        words = [sys.executable, __file__, str(folder / FILE), str(marks)]
        return [*words, str(load.seed), str(load.changes), *load.pragmas]

    async def check(self, folder: Path, said: Sequence[str]) -> str | None:
        database = Database(f"sqlite:///{folder / FILE}")
        try:
            await database.start()
            try:
                books, rows, integrity = await database.read(_look)
            finally:
                await database.stop()
        except DatabaseError as exc:
            return str(exc)
        if integrity != "ok":
            return f"integrity_check: {integrity}"
        if books != rows:
            return f"the books say {books}, stored is {rows}"
        gone = [
            (node, stream, [first, last])
            for node, acks in (orjson.loads(line) for line in said)
            for stream, word in acks.items()
            for first, last in word["ranges"]
            if not set(range(first, last + 1)) <= set(books.get((node, stream), ()))
        ]
        return f"acknowledged and not there: {gone[-1]}" if gone else None


def _look(connection: Connection) -> tuple[Stored, Stored, str]:
    books = {
        key[:2]: [seq for first, last in book.accepted.pairs() for seq in range(first, last + 1)]
        for key, book in store.load_books(connection, NODES).items()
    }
    rows: Stored = {}
    for sql, stream in (
        (f"SELECT node, t0_ms - {BEGAN_MS} FROM telemetry_batch ORDER BY 1, 2", "metrics"),
        ("SELECT node, json_extract(data, '$.n') FROM event ORDER BY 1, 2", "events"),
    ):
        for node, seq in connection.execute(text(sql)):
            rows.setdefault((node, stream), []).append(seq)
    return books, rows, connection.execute(text("PRAGMA integrity_check")).scalar_one()


class _Marks:
    """The downlink: says what is acknowledged."""

    def __init__(self, path: Path) -> None:
        self._marks = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def send(self, message: Message) -> None:
        node = message.topic.split("/")[2]
        os.write(self._marks, b'["%s",%s]\n' % (node.encode(), message.payload))


class _NoCommands:
    def record_many(self, _conn: Any, _reports: Any) -> list[Any]:
        return []

    def reported(self) -> None:
        """Nobody waits for it."""


def _arrival(node: str, path: str, seq: int, **body: Any) -> Arrival:
    content = {
        "epoch": EPOCH,
        "seq": seq,
        "boot": "b",
        "up_ms": 10,
        "ts": BEGAN_MS + seq,
        "synced": True,
    }
    topic = parse(f"fs1/up/{node}/{path}")
    assert isinstance(topic, Up)
    return read(topic, encode({**content, **body}))


async def _work(path: Path, marks: Path, load: Load) -> None:
    clock = ManualClock()
    database = Database(f"sqlite:///{path}")
    await database.start()
    downlink = _Marks(marks)
    ingest = IngestService(
        database,
        EventLog(database, clock.now_ms),
        downlink,
        TelemetryHistory(database, clock.now_ms),
        _NoCommands(),
        _NoCommands(),
        RejectedList(now_ms=clock.now_ms, now_s=clock.monotonic_s, tell=lambda _message: None),
        now_ms=clock.now_ms,
        now_s=clock.monotonic_s,
        facts_committed=lambda _node, _report: None,
        settings=IngestSettings(linger_s=0.001),
    )
    running = asyncio.create_task(ingest.run())
    rng = random.Random(load.seed)
    heads: dict[tuple[str, str], int] = {}
    for _ in range(load.changes):
        for _ in range(rng.randint(1, 4)):
            node, stream = rng.choice(NODES), rng.choice(("metrics", "events"))
            seq = heads[node, stream] = heads.get((node, stream), 0) + 1
            if stream == "metrics":
                series = {f"s{n}": [rng.random()] for n in range(rng.choice((1, 50)))}
                await ingest.submit(_arrival(node, "tel/host", seq, dt=[0], m=series))
            else:
                await ingest.submit(_arrival(node, "evt/x", seq, data={"n": seq}))
        await ingest.drained()
    running.cancel()
    await database.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("marks", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("changes", type=int)
    parser.add_argument("pragmas", nargs="*")
    options = parser.parse_args()
    override(options.pragmas)
    load = Load(seed=options.seed, changes=options.changes)
    asyncio.run(_work(options.path, options.marks, load))


if __name__ == "__main__":
    main()
