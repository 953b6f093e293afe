"""Opens the agent's database; a damaged one is set aside first, and never deleted.

A new database has a new epoch, so what the old one had given out is never taken for the new one's.
What it held and never got to the center is lost; how much that is, is read from it where possible.
A disk that can't be read or written is no damage: that is an error, and nothing is renamed.
"""

import contextlib
import logging
import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

from farshore_protocol.ids import Ids
from farshore_protocol.stream import STREAMS

from farshore_edge.database.model import SetAside
from farshore_edge.database.schema import SCHEMA_VERSION, claim
from farshore_edge.database.sqlite import SqliteDatabase
from farshore_edge.errors import DatabaseError, DiskError

log = logging.getLogger(__name__)

CHECK_S = 20.0
"""For looking through the file at a start; a larger one than that is taken as it is."""
LOST_RANGES = 32
"""Told of one stream; of more, the whole that they lie in."""
_COMPANIONS = ("-wal", "-shm")

Lost = tuple[tuple[str, str, int, int], ...]


def open_database(
    path: Path,
    ids: Ids,
    *,
    now_ms: int,
    check_s: float = CHECK_S,
    aside: SetAside | None = None,
) -> SqliteDatabase:
    """Raises DiskError when the disk can't be used, and DatabaseError when there can be no database
    for another reason: a later version, another agent.

    ``aside``: what an earlier attempt set aside that then failed.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = claim(path)
    except OSError as exc:
        raise DiskError(f"agent database {path}: {exc}") from exc
    try:
        reason = _damage(path, check_s)
        if reason is not None:
            aside = _set_aside(path, reason, now_ms)
    except OSError as exc:
        raise DiskError(f"agent database {path}: {exc}", aside=aside) from exc
    finally:
        os.close(lock)
    try:
        return SqliteDatabase(path, ids, aside=aside)
    except DatabaseError as exc:
        if isinstance(exc.__cause__, OSError | sqlite3.OperationalError):
            raise DiskError(str(exc), aside=aside) from exc.__cause__
        raise


def _damage(path: Path, check_s: float) -> str | None:
    """What is wrong with the file, None for nothing. It does not say anything of a later version."""
    if not path.is_file():
        # An earlier setting aside was cut short: a log must never meet another database.
        left = any(path.with_name(path.name + part).exists() for part in _COMPANIONS)
        return "a write-ahead log without its database" if left and not path.exists() else None
    try:
        with contextlib.closing(_only_to_read(path)) as connection:
            return _looked_through(connection, check_s)
    except sqlite3.OperationalError:
        return None  # the disk, a lock: whoever opens it says so
    except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
        return str(exc)


def _only_to_read(path: Path) -> sqlite3.Connection:
    """What is damaged stays as it is: nothing is written back from its log."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)


def _looked_through(connection: sqlite3.Connection, check_s: float) -> str | None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        return None
    until_s = time.monotonic() + check_s
    connection.set_progress_handler(lambda: time.monotonic() > until_s, 10_000)
    try:
        rows = connection.execute("PRAGMA integrity_check(1)").fetchall()
    except sqlite3.OperationalError as exc:
        if "interrupted" not in str(exc):
            raise
        log.warning("the database is too large to look through", extra={"seconds": check_s})
        rows = [("ok",)]
    finally:
        connection.set_progress_handler(None, 0)
    if rows != [("ok",)]:
        return f"integrity check: {rows[0][0] if rows else 'no answer'}"
    return _strange(connection, version)


def _strange(connection: sqlite3.Connection, version: int) -> str | None:
    """A sound file that is not the agent's, or not whole."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    if version == 0:
        return None if not tables else "not the agent's database"
    missing = {"stream", "record", "loss", "command"} - tables
    if missing:
        return f"without the table {', '.join(sorted(missing))}"
    named = {name for (name,) in connection.execute("SELECT name FROM stream")}
    return None if named == set(STREAMS) else "without its streams"


def _set_aside(path: Path, reason: str, now_ms: int) -> SetAside:
    lost = _lost(path)
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    target = _free(path.with_name(f"{path.name}.broken-{stamp}"))
    # The database first: without it, what is left of it is known for what it is at the next start.
    for part in ("", *_COMPANIONS):
        source = path.with_name(path.name + part)
        if source.exists():
            source.rename(target.with_name(target.name + part))
    _sync_folder(path.parent)
    log.error(
        "the database is damaged; it is set aside and a new one begun",
        extra={"file": str(target), "reason": reason},
    )
    return SetAside(file=target.name, reason=reason[:500], at_ms=now_ms, lost=lost)


def _free(target: Path) -> Path:
    number, free = 1, target
    while any(free.with_name(free.name + part).exists() for part in ("", *_COMPANIONS)):
        number += 1
        free = target.with_name(f"{target.name}-{number}")
    return free


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lost(path: Path) -> Lost:
    """What the damaged database held, and what it may have had in memory, as far as it can be read."""
    found: list[tuple[str, str, int, int]] = []
    with contextlib.suppress(sqlite3.Error), contextlib.closing(_only_to_read(path)) as connection:
        columns = {row[1] for row in connection.execute("PRAGMA table_info(stream)")}
        reserved = "reserved" if "reserved" in columns else "head"
        rows = connection.execute(f"SELECT name, epoch, head, {reserved} FROM stream").fetchall()  # noqa: S608 # one of two words of ours
        for name, epoch, head, mark in rows:
            if name in STREAMS and isinstance(epoch, str) and isinstance(head, int):
                ranges = _ranges(_kept(connection, name), head, mark)
                found += [(name, epoch, first, last) for first, last in ranges]
    return tuple(found)


def _ranges(
    kept: list[tuple[int, int]] | None, head: int, reserved: object
) -> list[tuple[int, int]]:
    last = max(head, reserved) if isinstance(reserved, int) else head
    if kept is None:
        return [(1, last)] if last > 0 else []  # the center knows which of them it has
    counted = max([head, *(end for _, end in kept)])
    ranges = [*kept, (counted + 1, last)] if last > counted else kept
    if len(ranges) > LOST_RANGES:
        return [(ranges[0][0], ranges[-1][1])]
    return ranges


def _kept(connection: sqlite3.Connection, stream: str) -> list[tuple[int, int]] | None:
    """None when that can't be read any more."""
    try:
        rows = connection.execute(
            "SELECT min(seq), max(seq) FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq)"
            " AS island FROM record WHERE stream = ?) GROUP BY island ORDER BY 1",
            (stream,),
        ).fetchall()
    except sqlite3.Error:
        return None
    return [
        (a, b) for a, b in rows if isinstance(a, int) and isinstance(b, int) and 1 <= a <= b < 2**53
    ]
