"""Promises of opening, reading and closing: one center, snapshots, nothing left behind."""

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from db.notes import all_notes, create_tables, insert_note
from farshore_center.db import engine
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError, DirectoryInUseError
from farshore_center.errors import CenterError
from sqlalchemy import Connection, text


async def test_the_writer_syncs_every_commit_and_checks_foreign_keys(database: Database) -> None:
    def settings(connection: Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return {n: connection.exec_driver_sql(f"PRAGMA {n}").scalar_one() for n in names}

    full = 2
    assert await database.write(settings) == {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
    }


async def test_a_second_center_on_the_same_directory_is_refused(
    database: Database, path: Path
) -> None:
    second = Database(f"sqlite:///{path}")
    with pytest.raises(DirectoryInUseError) as caught:
        await second.start()
    assert str(path.parent) in str(caught.value)
    assert str(os.getpid()) in str(caught.value)
    await database.stop()
    await second.start()
    await second.stop()


async def test_a_reader_keeps_its_snapshot_while_others_write(database: Database) -> None:
    await database.write(insert_note("a"))
    begun, proceed = threading.Event(), threading.Event()

    def look_twice(connection: Connection) -> tuple[list[str], list[str]]:
        first = all_notes(connection)
        begun.set()
        assert proceed.wait(20)
        return first, all_notes(connection)

    looking = asyncio.create_task(database.read(look_twice))
    assert await asyncio.to_thread(begun.wait, 20)
    await database.write(insert_note("b"))
    proceed.set()
    assert await looking == (["a"], ["a"])
    assert await database.read(all_notes) == ["a", "b"]


async def test_a_reader_cannot_write(database: Database) -> None:
    with pytest.raises(DatabaseError, match="readonly"):
        await database.read(insert_note("a"))
    assert await database.read(all_notes) == []


async def test_an_error_of_the_reading_work_is_its_own(database: Database) -> None:
    def fail(_connection: Connection) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await database.read(fail)


async def test_stop_finishes_what_is_queued_and_leaves_one_file(
    database: Database, path: Path
) -> None:
    writes = [asyncio.create_task(database.write(insert_note(str(n)))) for n in range(50)]
    await asyncio.sleep(0)  # the tasks have submitted, nobody has waited for an answer
    await database.stop()
    await asyncio.gather(*writes)
    log = path.with_name(path.name + "-wal")
    assert not log.exists() or log.stat().st_size == 0
    other = sqlite3.connect(path)
    try:
        assert other.execute("SELECT count(*) FROM notes").fetchone() == (50,)
    finally:
        other.close()
    with pytest.raises(DatabaseError, match="not open"):
        await database.write(insert_note("late"))


async def test_a_file_that_is_locked_for_a_moment_is_opened_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.01)
    path.parent.mkdir()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    asyncio.get_running_loop().call_later(0.2, other.execute, "COMMIT")
    database = Database(f"sqlite:///{path}")
    await database.start()
    await database.stop()
    other.close()


def _write_letter(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is a letter, not a database " * 100)


async def test_a_file_that_is_no_database_is_refused_by_name(path: Path) -> None:
    _write_letter(path)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(DatabaseError, match="not a database") as caught:
        await database.start()
    assert str(path) in str(caught.value)
    other = Database(f"sqlite:///{path.with_name('other.db')}")
    await other.start()  # the failed start has released the directory
    await other.stop()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "cannot be read"),
        ("sqlite:///relative.db", "absolute"),
        ("sqlite://", "absolute"),
    ],
)
def test_a_bad_url_is_refused_with_what_was_expected(url: str, said: str) -> None:
    with pytest.raises(CenterError, match=said) as caught:
        Database(url)
    assert "sqlite:////path/to/file.db" in str(caught.value)


async def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    database = Database(f"sqlite:///{tmp_path}/file/center.db")
    with pytest.raises(DatabaseError, match="cannot create the data directory"):
        await database.start()


async def test_what_was_written_is_there_after_a_restart(path: Path) -> None:
    database = Database(f"sqlite:///{path}")
    await database.start()
    await database.write(create_tables)
    await database.write(insert_note("a"))
    await database.stop()
    await database.start()
    assert await database.read(all_notes) == ["a"]
    assert await database.read(lambda c: c.execute(text("PRAGMA integrity_check")).scalar()) == "ok"
    await database.stop()
