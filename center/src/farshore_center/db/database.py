"""The center's database, for asyncio: durable writes in groups, snapshot reads in threads.

`write` answers after the commit that holds the work is on the disk. `read` sees one consistent
snapshot and never waits for the writer. Works are plain functions of a SQLAlchemy connection; they
run in threads and must not touch the event loop.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import sqlalchemy.exc
import tenacity
from sqlalchemy import Connection, Engine

from farshore_center.db.engine import is_sqlite, open_readers, open_writer, parse_url
from farshore_center.db.errors import DatabaseError, concerns_database, describe
from farshore_center.db.lock import DirectoryLock
from farshore_center.db.migrate import upgrade
from farshore_center.db.writer import GroupWriter

T = TypeVar("T")

_READERS = 4
_OPEN_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStats:
    """Since the start. `transactions` counts commits; works per transaction is the group size."""

    transactions: int
    failed_transactions: int
    works: int
    failed_works: int
    largest_group: int
    commit_s_sum: float
    commit_s_max: float
    queue_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    write_engine: Engine
    read_engine: Engine
    writer: GroupWriter
    readers: ThreadPoolExecutor
    lock: DirectoryLock | None


class Database:
    """One database. `start` it, use `write` and `read`, `stop` it; it can be started again."""

    def __init__(
        self,
        url: str,
        *,
        versions: Path | None = None,
        monotonic: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._url = parse_url(url)
        self._where = self._url.render_as_string(hide_password=True)
        if is_sqlite(self._url):
            self._where = str(self._url.database)
        self._versions = versions
        self._monotonic = monotonic
        self._opened: _Open | None = None

    async def start(self) -> None:
        """Creates directory and file, refuses a second center, migrates, opens."""
        if self._opened is not None:
            raise DatabaseError(f"the database {self._where} is already open")
        self._opened = await asyncio.to_thread(self._open)

    async def stop(self) -> None:
        """Finishes the queued writes, moves the log into the file, closes."""
        opened, self._opened = self._opened, None
        if opened is not None:
            await asyncio.to_thread(self._close, opened)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in a transaction; returns after its commit is durable.

        Cancelling the caller withdraws a work that has not begun; one that has begun is committed
        with its group all the same.
        """
        future: Future[T] = self._require().writer.submit(work)
        return await asyncio.wrap_future(future)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` on a snapshot; what it changes is refused or thrown away."""
        opened = self._require()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(opened.readers, self._read, opened.read_engine, work)

    def stats(self) -> DatabaseStats:
        opened = self._require()
        stats = opened.writer.stats
        return DatabaseStats(
            transactions=stats.transactions,
            failed_transactions=stats.failed_transactions,
            works=stats.works,
            failed_works=stats.failed_works,
            largest_group=stats.largest_group,
            commit_s_sum=stats.commit_s_sum,
            commit_s_max=stats.commit_s_max,
            queue_length=opened.writer.queue_length,
        )

    def _require(self) -> _Open:
        if self._opened is None:
            raise DatabaseError(f"the database {self._where} is not open")
        return self._opened

    def _open(self) -> _Open:
        lock = self._prepare_directory() if is_sqlite(self._url) else None
        try:
            self._migrate()
            write_engine = open_writer(self._url)
            read_engine = open_readers(self._url, _READERS)
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        writer = GroupWriter(write_engine, where=self._where, monotonic=self._monotonic)
        writer.start()
        readers = ThreadPoolExecutor(_READERS, thread_name_prefix="db-reader")
        return _Open(
            write_engine=write_engine,
            read_engine=read_engine,
            writer=writer,
            readers=readers,
            lock=lock,
        )

    def _prepare_directory(self) -> DirectoryLock:
        directory = Path(str(self._url.database)).parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise DatabaseError(
                f"cannot create the data directory {directory}: {exc.strerror}"
            ) from exc
        lock = DirectoryLock(directory)
        lock.acquire()
        return lock

    def _migrate(self) -> None:
        # Another program that looks into the file (a backup, a shell) may hold it for a moment.
        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_locked),
            stop=tenacity.stop_after_attempt(_OPEN_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0),
            reraise=True,
        )
        engine = open_writer(self._url, foreign_keys=False)
        try:
            retry(upgrade, engine, self._versions)
            if is_sqlite(self._url):
                # After a SIGKILL the log may hold commits that were never synced. What is read from
                # now on, and acknowledged, must not be taken back by a power loss.
                _checkpoint(engine)
        except sqlalchemy.exc.DBAPIError as exc:
            raise DatabaseError(f"cannot open {self._where}: {describe(exc)}") from exc
        finally:
            engine.dispose()

    def _read(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        try:
            with engine.connect() as connection, connection.begin() as transaction:
                try:
                    return work(connection)
                finally:
                    transaction.rollback()
        except Exception as exc:
            if concerns_database(exc):
                raise DatabaseError(f"cannot read {self._where}: {describe(exc)}") from exc
            raise

    def _close(self, opened: _Open) -> None:
        opened.writer.close()
        opened.readers.shutdown(wait=True)
        opened.read_engine.dispose()
        try:
            if is_sqlite(self._url):
                _checkpoint(opened.write_engine)
        except sqlalchemy.exc.DBAPIError as exc:
            raise DatabaseError(f"cannot close {self._where}: {describe(exc)}") from exc
        finally:
            opened.write_engine.dispose()
            if opened.lock is not None:
                opened.lock.release()


def _checkpoint(engine: Engine) -> None:
    """Syncs SQLite's write-ahead log and moves it into the file."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        if driver is not None:
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()


def _is_locked(exc: BaseException) -> bool:
    return isinstance(exc, sqlalchemy.exc.OperationalError) and "locked" in describe(exc)
