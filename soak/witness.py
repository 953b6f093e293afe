"""What is known of the nodes' records past Farshore's own word: their outboxes, and the wire.

Every kill leaves an outbox; a copy of it is read, so that SQLite's recovery is left to the agent.
Beside that a client of the broker hears what nodes send; while it is not connected, and so would
miss a backlog that nodes send before it is back, it looks into the outboxes of the living. A sample is
known by its ``uptime_s``, which no other sample of the node has.
"""

import asyncio
import contextlib
import logging
import random
import shutil
import sqlite3
import tempfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from farshore_protocol.clock import SystemClock
from farshore_protocol.link import BackoffSettings, Message, Session
from farshore_protocol.link.mqtt import MqttLink, MqttSettings

from soak.violation import Violation

HEADS = """SELECT name, epoch, max(head, coalesce((SELECT max(seq) FROM record WHERE stream = name), 0))
FROM stream"""
"""A head is written when records go; while they are there, they say it themselves."""

SERIES = "uptime_s"
Key = tuple[str, str, int]
"""Node, epoch, seq of a record of ``metrics``."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Witness:
    """``heads``: per node and stream the epoch and the highest head that was ever durable."""

    samples: dict[Key, tuple[float, ...]] = field(default_factory=dict)
    heads: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    deaths_with_records: int = 0

    def metrics(self, node: str, payload: bytes) -> None:
        """A record of metrics, as it travels; the same one may come often, and stays the same."""
        batch = orjson.loads(payload if payload[:1] == b"{" else zlib.decompress(payload))
        samples = tuple(value for value in batch["m"].get(SERIES, ()) if value is not None)
        before = self.samples.setdefault((node, batch["epoch"], batch["seq"]), samples)
        if before != samples:
            self._say("one number, one record", node, f"metrics {batch['seq']}: two contents")

    def died(self, node: str, database: Path) -> None:
        """Reads what a dead agent has left."""
        write_ahead = database.with_name(database.name + "-wal")
        with contextlib.suppress(FileNotFoundError), tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / database.name
            shutil.copy(database, copy)
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(write_ahead, copy.with_name(write_ahead.name))
            self._read(node, copy)

    def lives(self, node: str, database: Path) -> None:
        """Reads what a living agent keeps; it need not have made its tables yet."""
        with contextlib.suppress(sqlite3.OperationalError):
            uri = f"file:{database}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
                self._take(node, *_told(connection))

    def _read(self, node: str, database: Path) -> None:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            try:
                streams, records = _told(connection)
            except sqlite3.OperationalError as exc:
                if "no such table" not in str(exc):  # killed before it had made its tables
                    self._say("a database survives", node, str(exc))
                return
            except sqlite3.DatabaseError as exc:
                self._say("a database survives", node, str(exc))
                return
        self.deaths_with_records += bool(records)
        self._take(node, streams, records)

    def _take(
        self, node: str, streams: list[tuple[str, str, int]], records: list[tuple[str, bytes]]
    ) -> None:
        for stream, epoch, head in streams:
            epoch_before, head_before = self.heads.get((node, stream), (epoch, 0))
            if epoch != epoch_before or head < head_before:
                told = f"{stream}: {epoch_before} {head_before}, then {epoch} {head}"
                self._say("numbers go on", node, told)
            self.heads[node, stream] = (epoch, head)
        for stream, payload in records:
            if stream == "metrics":
                self.metrics(node, payload)

    def _say(self, promise: str, node: str, detail: str) -> None:
        self.violations.append(Violation(promise=promise, where=node, detail=detail))


def _told(
    connection: sqlite3.Connection,
) -> tuple[list[tuple[str, str, int]], list[tuple[str, bytes]]]:
    streams = connection.execute(HEADS).fetchall()
    return streams, connection.execute("SELECT stream, payload FROM record").fetchall()


class Listener:
    """Hears what nodes send, while there is a broker; a ``LinkHandler``."""

    def __init__(self, witness: Witness, port: int, *, rng: random.Random) -> None:
        settings = MqttSettings(
            host="127.0.0.1", port=port, backoff=BackoffSettings(first_s=0.1, max_s=0.3)
        )
        self._witness = witness
        self._link = MqttLink(settings, clock=SystemClock(), rng=rng)
        self.heard = 0

    @property
    def connected(self) -> bool:
        return self._link.connected

    async def run(self) -> None:
        await self._link.run(self)

    async def close(self) -> None:
        async with asyncio.timeout(10):
            await self._link.close()

    def session(self, conn: int) -> Session:  # noqa: ARG002 # of the interface
        return Session(client_id="soak-listener", filters=("fs1/up/+/tel/host",))

    def link_up(self, conn: int) -> None:
        log.debug("listening", extra={"conn": conn})

    def link_down(self, conn: int, reason: str) -> None:
        log.debug("not listening", extra={"conn": conn, "reason": reason})

    def received(self, message: Message) -> None:
        self.heard += 1
        self._witness.metrics(message.topic.split("/")[2], message.payload)
