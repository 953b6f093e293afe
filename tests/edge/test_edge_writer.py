"""Work in the writer's thread: waited for briefly, or told through the loop; each exactly once."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from edge.edge_bench import eventually, record, seeded_ids
from farshore_edge.database import Change, SqliteDatabase
from farshore_edge.database.writer import WriterThread


async def test_work_that_takes_longer_than_the_wait_is_told_through_the_loop_once() -> None:
    thread, gate, told = WriterThread("test"), threading.Event(), []
    work = thread.start(lambda: gate.wait(10))
    assert not work.wait(0.001)
    work.then(asyncio.get_running_loop(), lambda: told.append(work.result()))
    gate.set()
    await eventually(lambda: told)
    await asyncio.sleep(0)
    assert told == [True]
    thread.close()


async def test_work_that_was_done_before_anyone_asked_is_told_once_all_the_same() -> None:
    thread, told = WriterThread("test"), []
    work = thread.start(lambda: 1 // 0)
    thread.close()
    work.then(asyncio.get_running_loop(), lambda: told.append(type(work.error)))
    await eventually(lambda: told)
    assert told == [ZeroDivisionError]
    with pytest.raises(ZeroDivisionError):
        work.result()
    with pytest.raises(RuntimeError, match="closed"):
        thread.start(lambda: 1)


async def _turns(change: Change, database: SqliteDatabase) -> int:
    """How often the loop turned while the change was committed."""
    turns, writing = 0, asyncio.ensure_future(database.commit(change))
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    await writing
    return turns


async def test_a_lone_change_is_waited_for_on_the_spot_while_the_disk_is_quick(
    tmp_path: Path,
) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids(), wait_s=10)
    await database.commit(Change(records=[record(1)]))
    assert await _turns(Change(records=[record(2)]), database) <= 3
    assert database.streams()["metrics"].head == 2
    await database.close()


async def test_a_disk_that_hangs_does_not_hang_the_loop(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids(), wait_s=0.2)
    await database.commit(Change(records=[record(1)]))
    with closing(sqlite3.connect(tmp_path / "agent.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # the commit waits behind it, as behind a disk
        writing = asyncio.ensure_future(database.commit(Change(records=[record(2)])))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not writing.done()
        other.execute("ROLLBACK")
    await writing
    assert await _turns(Change(records=[record(3)]), database) > 3, "it was slow: not waited for"
    await database.close()


async def test_changes_that_are_made_in_one_turn_of_the_loop_share_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    write = SqliteDatabase._write

    def counted(self: SqliteDatabase, changes: list[Change]) -> object:
        groups.append(len(changes))
        return write(self, changes)

    monkeypatch.setattr(SqliteDatabase, "_write", counted)
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids(), wait_s=10)
    await database.commit(Change(records=[record(1)]))
    await asyncio.gather(*(database.commit(Change(records=[record(n)])) for n in range(2, 12)))
    assert groups == [1, 10]
    await database.close()


async def test_a_caller_that_is_cancelled_before_its_turn_does_not_hold_up_the_others(
    tmp_path: Path,
) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    first = asyncio.ensure_future(database.commit(Change(records=[record(1)])))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    await asyncio.wait_for(database.commit(Change(records=[record(2)])), 10)
    assert set(database.records("metrics", range(1, 3))) == {1, 2}
    await database.close()
