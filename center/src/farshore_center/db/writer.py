"""Group commit: one thread, one connection, one sync for many works.

Works that arrive while a transaction is being synced share the next transaction. Each runs in a
savepoint of its own, so one that raises is undone alone; a work that is alone in its transaction
needs none. A caller gets its result only after the commit that holds it. When the commit itself
fails, nothing of the group is kept and each of its callers gets DatabaseError.

It knows nothing of asyncio: it resolves `concurrent.futures` futures.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, NestedTransaction, RootTransaction
from sqlalchemy.exc import SQLAlchemyError

from farshore_center.db.errors import DatabaseError, concerns_database, describe

# Bounds how long the first caller of a group waits for the last work of it.
MAX_GROUP = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStats:
    transactions: int = 0
    failed_transactions: int = 0
    works: int = 0
    failed_works: int = 0
    largest_group: int = 0
    commit_s_sum: float = 0.0
    commit_s_max: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    work: Callable[[Connection], Any]
    future: Future[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    job: _Job
    value: Any = None
    error: Exception | None = None

    def deliver(self) -> None:
        if self.error is not None:
            self.job.future.set_exception(self.error)
        else:
            self.job.future.set_result(self.value)


class GroupWriter:
    """Runs submitted works in order and resolves each after its durable commit."""

    def __init__(self, engine: Engine, *, where: str, monotonic: Callable[[], float]) -> None:
        self._engine = engine
        self._where = where
        self._monotonic = monotonic
        self._queue: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._connection: Connection | None = None
        self._stats = WriterStats()
        self._thread = threading.Thread(target=self._run, name="db-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, work: Callable[[Connection], Any]) -> Future[Any]:
        job = _Job(work=work, future=Future())
        with self._changed:
            if self._closing:
                raise DatabaseError(f"the database {self._where} is closed")
            self._queue.append(job)
            self._changed.notify()
        return job.future

    def close(self) -> None:
        """Refuses new works, finishes the queued ones and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    @property
    def stats(self) -> WriterStats:
        return self._stats

    def _run(self) -> None:
        while group := self._next_group():
            # A cancelled caller takes its work out of the group only while it has not begun.
            jobs = [job for job in group if job.future.set_running_or_notify_cancel()]
            if jobs:
                self._commit_group(jobs)
        self._drop_connection()

    def _next_group(self) -> list[_Job]:
        with self._changed:
            while not self._queue and not self._closing:
                self._changed.wait()
            size = min(len(self._queue), MAX_GROUP)
            return [self._queue.popleft() for _ in range(size)]

    def _commit_group(self, jobs: Sequence[_Job]) -> None:
        outcomes: list[_Outcome] = []
        try:
            commit_s = self._transact(jobs, outcomes)
        except BaseException as exc:  # the thread must outlive whatever a work or driver raises
            self._drop_connection()
            self._count(outcomes, commit_s=0.0, committed=False)
            self._fail(jobs, outcomes, exc)
            return
        if any(isinstance(outcome.error, DatabaseError) for outcome in outcomes):
            self._drop_connection()
        self._count(outcomes, commit_s=commit_s, committed=True)
        for outcome in outcomes:
            outcome.deliver()

    def _transact(self, jobs: Sequence[_Job], outcomes: list[_Outcome]) -> float:
        if self._connection is None:
            self._connection = self._engine.connect()
        connection = self._connection
        with connection.begin() as transaction:
            for job in jobs:
                alone = len(jobs) == 1
                outcomes.append(_run_work(connection, job, self._where, alone=alone))
                if not (alone and outcomes[0].error):
                    _check_transaction(connection, transaction)
            if len(outcomes) == 1 and outcomes[0].error is not None:
                transaction.rollback()
                return 0.0
            started = self._monotonic()
            transaction.commit()
            return self._monotonic() - started

    def _fail(self, jobs: Sequence[_Job], outcomes: Sequence[_Outcome], exc: BaseException) -> None:
        own = {id(outcome.job): outcome.error for outcome in outcomes}
        for job in jobs:
            error = own.get(id(job))
            job.future.set_exception(error or _for_caller(exc, self._where))

    def _drop_connection(self) -> None:
        # After a failure the state of a connection is anybody's guess; the next group opens one.
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except SQLAlchemyError:
            connection.invalidate()

    def _count(self, outcomes: Sequence[_Outcome], *, commit_s: float, committed: bool) -> None:
        before = self._stats
        failed = sum(outcome.error is not None for outcome in outcomes)
        self._stats = WriterStats(
            transactions=before.transactions + committed,
            failed_transactions=before.failed_transactions + (not committed),
            works=before.works + len(outcomes),
            failed_works=before.failed_works + failed,
            largest_group=max(before.largest_group, len(outcomes)),
            commit_s_sum=before.commit_s_sum + commit_s,
            commit_s_max=max(before.commit_s_max, commit_s),
        )


def _run_work(connection: Connection, job: _Job, where: str, *, alone: bool) -> _Outcome:
    """Runs one work; raises only when the whole transaction is lost with it."""
    savepoint = None if alone else connection.begin_nested()
    try:
        value = job.work(connection)
        if savepoint is not None:
            savepoint.commit()
    except Exception as exc:
        if savepoint is not None:
            _undo(savepoint, exc)
        error = _for_caller(exc, where) if concerns_database(exc) else exc
        return _Outcome(job=job, error=error)
    return _Outcome(job=job, value=value)


def _undo(savepoint: NestedTransaction, cause: Exception) -> None:
    """Raises `cause` when there is no savepoint to go back to.

    A full disk or an I/O error may make SQLite undo the whole transaction behind our back.
    """
    try:
        savepoint.rollback()
    except SQLAlchemyError:
        raise cause from None


def _check_transaction(connection: Connection, transaction: RootTransaction) -> None:
    """Raises when a work, or SQLite inside of it, has ended the transaction.

    Without this, a work that swallows such an error would be answered as if it were kept.
    """
    driver = connection.connection.driver_connection
    if not transaction.is_active or not getattr(driver, "in_transaction", True):
        raise DatabaseError("a work ended the transaction that it shares with others")


def _for_caller(exc: BaseException, where: str) -> DatabaseError:
    error = DatabaseError(f"cannot write to {where}: {describe(exc)}")
    error.__cause__ = exc
    return error
