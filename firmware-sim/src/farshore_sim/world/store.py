"""The center's durable store: SQLite in memory, with the real tables, that outlives each center.

``InlineDatabase`` is one center's way to it: the real group writer without its thread, and virtual
time where a real one waits for the disk. A center that is killed before the commit loses the work;
one that is killed after it has committed and told nobody.
"""

import asyncio
import random
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy.exc
from farshore_center.db.database import Database, DatabaseStats
from farshore_center.db.errors import DatabaseError
from farshore_center.db.tables import metadata
from farshore_center.db.writer import GroupWriter
from sqlalchemy import Connection, StaticPool, create_engine, event

T = TypeVar("T")

_NO_FILE = "sqlite:////in/memory"


class CenterStore:
    """Commits fail and are slow until the given times; ``committed`` is told of each."""

    def __init__(
        self, *, time_s: Callable[[], float], rng: random.Random, committed: Callable[[], None]
    ) -> None:
        self._time_s = time_s
        self._rng = rng
        self._committed = committed
        self.failing_until_s = 0.0
        self.slow_until_s = 0.0
        self.slow_s = 0.0
        self._past: frozenset[sqlite3.Connection] = frozenset()
        self._copies: dict[sqlite3.Connection, frozenset[sqlite3.Connection]] = {}
        """Each with those that were taken in its past, itself included."""
        self.raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.raw.execute("PRAGMA foreign_keys=ON")
        self.engine = create_engine("sqlite://", creator=lambda: self.raw, poolclass=StaticPool)
        event.listen(self.engine, "begin", _begin)
        metadata.create_all(self.engine)
        event.listen(self.engine, "commit", self._commits)

    def _commits(self, _connection: Connection) -> None:
        if self._time_s() < self.failing_until_s:
            cause = sqlite3.OperationalError("disk I/O error")
            raise sqlalchemy.exc.OperationalError("COMMIT", None, cause)
        self._committed()

    def has_failed(self) -> bool:
        return self.failing_until_s > 0

    def delay_s(self) -> float:
        if self._time_s() < self.slow_until_s:
            return self._rng.uniform(0.0, self.slow_s)
        return 0.003 * max(0.0, self._rng.uniform(-1.0, 1.0))  # often at once

    async def pause(self) -> None:
        delay_s = self.delay_s()
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    def reset(self) -> None:
        """The writer drops its connection after a failure; that ends what it had begun."""
        if self.raw.in_transaction:
            self.raw.execute("ROLLBACK")

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What is durable now, asked past the center."""
        return self.raw.execute(sql, values).fetchall()

    def copy(self) -> sqlite3.Connection | None:
        """A backup of what is durable now; None before a center has ever been here."""
        if not self.rows("SELECT 1 FROM center"):
            return None
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.raw.backup(copy)
        self._past |= {copy}
        self._copies[copy] = self._past
        return copy

    def set_back(self, copy: sqlite3.Connection) -> frozenset[sqlite3.Connection] | None:
        """Of a copy of a time that was left already, for an older one: the copies that both ways
        come from. None for one of its own past."""
        self.reset()
        copy.backup(self.raw)
        past, self._past = self._past, self._copies[copy]
        return None if copy in past else past & self._past

    def close(self) -> None:
        for copy in self._copies:
            copy.close()
        self.engine.dispose()
        self.raw.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


class InlineDatabase(Database):
    """The center's ``Database``, for one life of the center."""

    def __init__(self, store: CenterStore) -> None:
        super().__init__(_NO_FILE)
        self._store = store
        self._writer: GroupWriter | None = None
        self._flusher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        # Its thread is never started: the flusher does in turns what the thread does.
        self._writer = GroupWriter(self._store.engine, where="the world", monotonic=lambda: 0.0)

    async def stop(self) -> None:
        if self._flusher is not None:
            await self._flusher
        self._writer = None

    def _required(self) -> GroupWriter:
        if self._writer is None:
            raise DatabaseError("the database of the world is not open")
        return self._writer

    async def write(self, work: Callable[[Connection], T]) -> T:
        future = self._required().submit(work)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="center database")
        try:
            return await asyncio.wrap_future(future)
        finally:
            await self._store.pause()

    async def _flush(self) -> None:
        writer = self._required()
        while writer.queue_length:
            await self._store.pause()
            group = writer._next_group()
            jobs = [job for job in group if job.future.set_running_or_notify_cancel()]
            if jobs:
                writer._commit_group(jobs)
            self._store.reset()

    async def read(self, work: Callable[[Connection], T]) -> T:
        self._required()
        await self._store.pause()
        try:
            return self._read(self._store.engine, work)
        finally:
            await self._store.pause()

    def stats(self) -> DatabaseStats:
        stats = self._required().stats
        return DatabaseStats(
            transactions=stats.transactions,
            failed_transactions=stats.failed_transactions,
            works=stats.works,
            failed_works=stats.failed_works,
            largest_group=stats.largest_group,
            commit_s_sum=0.0,
            commit_s_max=0.0,
            queue_length=0,
        )
