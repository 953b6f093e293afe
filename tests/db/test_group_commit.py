"""Promises of Database.write: durable before the answer, one sync for many, isolated failures."""

import asyncio
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from db.notes import all_notes, insert_note
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError

DEADLINE_S = 60.0


@contextmanager
def commits_seen() -> Iterator[list[int]]:
    """Counts the COMMITs that really happen, whatever the statistics say."""
    seen = [0]

    def count(_connection: Connection) -> None:
        seen[0] += 1

    event.listen(Engine, "commit", count)
    try:
        yield seen
    finally:
        event.remove(Engine, "commit", count)


class Gate:
    """A work that holds the writer until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def work(self, _connection: Connection) -> None:
        self.entered.set()
        assert self._open.wait(DEADLINE_S)

    def open(self) -> None:
        self._open.set()

    async def until_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, DEADLINE_S)


async def test_writes_that_wait_for_a_sync_share_the_next_one(database: Database) -> None:
    gate = Gate()
    before = database.stats()
    with commits_seen() as commits:
        first = asyncio.create_task(database.write(gate.work))
        await gate.until_entered()
        rest = [asyncio.create_task(database.write(insert_note(str(n)))) for n in range(200)]
        await asyncio.sleep(0)  # each task has submitted its work
        assert database.stats().queue_length == 200
        gate.open()
        await asyncio.gather(first, *rest)
    after = database.stats()
    assert commits == [2]
    assert after.transactions - before.transactions == 2
    assert after.works - before.works == 201
    assert after.largest_group == 200
    assert after.commit_s_max > 0
    assert await database.read(all_notes) == [str(n) for n in range(200)], "order of submission"


async def test_two_hundred_concurrent_writers_need_far_fewer_commits(database: Database) -> None:
    with commits_seen() as commits:
        await asyncio.gather(*(database.write(insert_note(str(n))) for n in range(200)))
    assert commits[0] <= 100
    assert len(await database.read(all_notes)) == 200


async def test_a_write_is_answered_only_after_its_commit(database: Database) -> None:
    reached, proceed = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        reached.set()
        assert proceed.wait(DEADLINE_S)

    event.listen(Engine, "commit", hold)
    try:
        answer = asyncio.create_task(database.write(insert_note("a")))
        assert await asyncio.to_thread(reached.wait, DEADLINE_S)
        assert not answer.done()
        assert await database.read(all_notes) == [], "a reader sees committed rows alone"
        proceed.set()
        await answer
    finally:
        proceed.set()
        event.remove(Engine, "commit", hold)
    assert await database.read(all_notes) == ["a"]


async def test_an_answered_write_is_visible_to_another_program(
    database: Database, path: Path
) -> None:
    other = sqlite3.connect(path)
    try:
        for n in range(20):
            await database.write(insert_note(str(n)))
            (count,) = other.execute("SELECT count(*) FROM notes").fetchone()
            assert count == n + 1
    finally:
        other.close()


async def _grouped(
    database: Database, *works: Callable[[Connection], None]
) -> list[BaseException | None]:
    """Runs works that are certain to share one transaction; exceptions are returned."""
    gate = Gate()
    holder = asyncio.create_task(database.write(gate.work))
    await gate.until_entered()
    tasks = [asyncio.create_task(database.write(work)) for work in works]
    await asyncio.sleep(0)  # each task has submitted its work
    assert database.stats().queue_length == len(works)
    gate.open()
    await holder
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_a_work_that_raises_is_undone_alone(database: Database) -> None:
    def half_done(connection: Connection) -> None:
        insert_note("half")(connection)
        raise RuntimeError("changed my mind")

    before = database.stats().transactions
    outcomes = await _grouped(
        database, insert_note("a"), half_done, insert_note("b"), insert_note("a"), insert_note("c")
    )
    assert database.stats().transactions - before == 2
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        RuntimeError,
        type(None),
        IntegrityError,
        type(None),
    ]
    assert await database.read(all_notes) == ["a", "b", "c"]
    assert database.stats().failed_works == 2


async def test_a_work_that_raises_alone_is_undone_too(database: Database) -> None:
    def half_done(connection: Connection) -> None:
        insert_note("half")(connection)
        raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        await database.write(half_done)
    await database.write(insert_note("a"))
    assert await database.read(all_notes) == ["a"]


async def test_a_commit_that_fails_fails_its_whole_group_and_keeps_nothing(
    database: Database,
) -> None:
    def orphan(connection: Connection) -> None:
        connection.execute(text("INSERT INTO children (parent) VALUES (4711)"))

    outcomes = await _grouped(database, insert_note("a"), orphan, insert_note("b"))
    assert [type(outcome) for outcome in outcomes] == [DatabaseError] * 3
    assert "FOREIGN KEY" in str(outcomes[0])
    assert await database.read(all_notes) == []
    assert database.stats().failed_transactions == 1
    await database.write(insert_note("c"))
    assert await database.read(all_notes) == ["c"], "the writer goes on"


async def test_a_work_that_commits_by_itself_is_refused(database: Database) -> None:
    with pytest.raises(DatabaseError, match="ended the transaction"):
        await database.write(lambda connection: connection.commit())
    await database.write(insert_note("a"))
    assert await database.read(all_notes) == ["a"]


async def test_a_work_that_ends_the_transaction_and_says_nothing_fails_its_group(
    database: Database,
) -> None:
    def roll_back(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")

    outcomes = await _grouped(database, insert_note("a"), roll_back)
    assert [type(outcome) for outcome in outcomes] == [DatabaseError] * 2
    assert await database.read(all_notes) == []


async def test_a_statement_that_the_database_does_not_know_fails_alone(
    database: Database,
) -> None:
    def mistaken(connection: Connection) -> None:
        insert_note("half")(connection)
        connection.execute(text("INSERT INTO nowhere VALUES (1)"))

    outcomes = await _grouped(database, insert_note("a"), mistaken, insert_note("b"))
    assert [type(outcome) for outcome in outcomes] == [type(None), DatabaseError, type(None)]
    assert "nowhere" in str(outcomes[1])
    assert await database.read(all_notes) == ["a", "b"]


async def test_a_disk_that_fills_in_a_group_keeps_what_it_answers(
    database: Database, path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = path.with_name(path.name + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 64 * 1024, hard))
    try:
        outcomes = await _grouped(
            database, insert_note("a"), insert_note("x" * 50_000_000), insert_note("b")
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert isinstance(outcomes[1], DatabaseError)
    kept = [note for note, outcome in zip("axb", outcomes, strict=True) if outcome is None]
    assert await database.read(all_notes) == kept


async def test_cancelling_a_waiting_writer_withdraws_its_work_alone(database: Database) -> None:
    gate = Gate()
    holder = asyncio.create_task(database.write(gate.work))
    await gate.until_entered()
    tasks = [asyncio.create_task(database.write(insert_note(str(n)))) for n in range(5)]
    await asyncio.sleep(0)  # each task has submitted its work
    assert database.stats().queue_length == 5
    tasks[2].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[2]
    gate.open()
    await asyncio.gather(holder, *tasks[:2], *tasks[3:])
    assert await database.read(all_notes) == ["0", "1", "3", "4"]


async def test_cancelling_a_writer_whose_work_has_begun_leaves_the_group_whole(
    database: Database,
) -> None:
    gate = Gate()

    def slow_insert(connection: Connection) -> None:
        insert_note("begun")(connection)
        gate.work(connection)

    begun = asyncio.create_task(database.write(slow_insert))
    await gate.until_entered()
    begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun
    after = asyncio.create_task(database.write(insert_note("after")))
    gate.open()
    await after
    assert await database.read(all_notes) == ["begun", "after"]


async def test_a_full_disk_is_said_and_the_writer_goes_on(database: Database, path: Path) -> None:
    await database.write(insert_note("before"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = path.with_name(path.name + "-wal")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 64 * 1024, hard))
    try:
        with pytest.raises(DatabaseError) as caught:
            await database.write(insert_note("x" * 1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(path) in str(caught.value)
    assert "full" in str(caught.value) or "I/O" in str(caught.value)
    await database.write(insert_note("after"))
    assert await database.read(all_notes) == ["before", "after"]


async def test_a_read_only_database_is_said_and_the_writer_goes_on(
    database: Database, path: Path
) -> None:
    def in_vain(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA query_only=ON")
        insert_note("never")(connection)

    with pytest.raises(DatabaseError, match="readonly") as caught:
        await database.write(in_vain)
    assert str(path) in str(caught.value)
    await database.write(insert_note("after"))
    assert await database.read(all_notes) == ["after"]
