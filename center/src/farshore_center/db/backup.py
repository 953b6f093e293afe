"""Copies of the center's database: made while it runs, and put into an empty data folder.

A copy is made by SQLite's backup in one step: it sees one commit, however much is written meanwhile.
Other databases have their own tools.
"""

import contextlib
import os
import sqlite3
from pathlib import Path

from farshore_center.db.errors import DatabaseError
from farshore_center.db.lock import DirectoryLock

FILE = "center.db"
MARKER = "restored-from-backup"
"""In the data folder until a center has started on the copy: it then knows that it is one."""


def back_up(data: Path, to: Path) -> int:
    """Writes a consistent copy of ``data``'s database to the new file ``to``; its size in bytes."""
    source = data / FILE
    if not source.is_file():
        raise DatabaseError(f"there is no center's database in {data}")
    if to.exists():
        raise DatabaseError(f"{to} is there already; a backup does not overwrite")
    return _copy(source, to)


def put_back(copy: Path, data: Path) -> None:
    """Puts a copy into a folder without a database, marked so that the next start knows it."""
    if not copy.is_file():
        raise DatabaseError(f"there is no file {copy}")
    data.mkdir(parents=True, exist_ok=True)
    if (data / FILE).exists():
        raise DatabaseError(
            f"{data} holds a database already; move it away, with its -wal and -shm files"
        )
    lock = DirectoryLock(data)
    lock.acquire()
    try:
        # The mark first: a copy in place without it would be taken for the database itself.
        _write_durably(data / MARKER, f"{copy}\n")
        _copy(copy, data / FILE)
    finally:
        lock.release()


def _copy(source: Path, target: Path) -> int:
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        with (
            contextlib.closing(_open_to_read(source)) as old,
            contextlib.closing(sqlite3.connect(part)) as new,
        ):
            old.backup(new)
            new.execute("PRAGMA journal_mode=DELETE")
            (word,) = new.execute("PRAGMA quick_check").fetchone()
            if word != "ok":
                raise DatabaseError(f"{source} is damaged: {word}")
            if not new.execute(
                "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
            ).fetchone():
                raise DatabaseError(f"{source} is no center's database")
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(target)
        _sync_folder(target.parent)
    except (sqlite3.Error, OSError) as exc:
        raise DatabaseError(f"cannot copy {source} to {target}: {exc}") from exc
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def _open_to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
