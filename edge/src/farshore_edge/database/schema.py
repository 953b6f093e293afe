"""The tables of the agent's database on disk, and how a file is opened, claimed and prepared.

A file has one writer: two agents on one file would both give out the same seqs.

Records lie in a table with a rowid: without one, a record above 1 KB would have a page of its own.
"""

import fcntl
import os
import sqlite3
from pathlib import Path

from farshore_protocol.codec import encode
from farshore_protocol.ids import Ids
from farshore_protocol.stream import STREAMS

from farshore_edge.database.model import SetAside
from farshore_edge.errors import DatabaseError

SCHEMA_VERSION = 2

_SCHEMA = """
-- `head`: every seq up to it is, or was, in `record`, or in `loss`, or was acknowledged.
CREATE TABLE stream (name TEXT PRIMARY KEY, epoch TEXT NOT NULL, head INTEGER NOT NULL,
    reserved INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE record (stream TEXT NOT NULL REFERENCES stream (name), seq INTEGER NOT NULL,
    path TEXT NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (stream, seq));
CREATE TABLE loss (id INTEGER PRIMARY KEY, stream TEXT NOT NULL, epoch TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, reason TEXT NOT NULL, at_ms INTEGER NOT NULL);
-- `turn` counts changes, so that age does not depend on a clock that may be wrong.
CREATE TABLE command (turn INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, verb TEXT NOT NULL,
    state TEXT NOT NULL, at_ms INTEGER NOT NULL, request BLOB NOT NULL, report BLOB);
CREATE INDEX command_open ON command (turn) WHERE state IN ('received', 'accepted', 'running');
CREATE TABLE aside (id INTEGER PRIMARY KEY CHECK (id = 1), about BLOB NOT NULL);
"""

_FROM_1 = """
ALTER TABLE stream ADD COLUMN reserved INTEGER NOT NULL DEFAULT 0;
ALTER TABLE record RENAME TO record_1;
CREATE TABLE record (stream TEXT NOT NULL REFERENCES stream (name), seq INTEGER NOT NULL,
    path TEXT NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (stream, seq));
INSERT INTO record SELECT stream, seq, path, payload FROM record_1 ORDER BY stream, seq;
DROP TABLE record_1;
CREATE TABLE aside (id INTEGER PRIMARY KEY CHECK (id = 1), about BLOB NOT NULL);
PRAGMA user_version=2;
COMMIT;
"""

_CENTER = """
-- One row: the newest mark of a center that was obeyed.
CREATE TABLE IF NOT EXISTS center (one INTEGER PRIMARY KEY CHECK (one = 1), database TEXT NOT NULL,
    epoch TEXT NOT NULL, generation INTEGER NOT NULL)
"""

_UNANSWERED = """
-- The heads when an agent began whose birth was not answered yet.
CREATE TABLE IF NOT EXISTS unanswered (stream TEXT PRIMARY KEY, head INTEGER NOT NULL)
"""

_TASKS = """
-- One row: the newest `desired/tasks` that was taken.
CREATE TABLE IF NOT EXISTS task_document (one INTEGER PRIMARY KEY CHECK (one = 1),
    rev INTEGER NOT NULL);
-- The highest epoch that was ever granted here, by `task/instance`.
CREATE TABLE IF NOT EXISTS task_epoch (instance TEXT PRIMARY KEY, epoch INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS task (id TEXT PRIMARY KEY, body BLOB NOT NULL);
"""

_OPEN = """
DROP INDEX IF EXISTS command_unfinished;
CREATE INDEX IF NOT EXISTS command_open ON command (turn)
    WHERE state IN ('received', 'accepted', 'running');
"""


_ADDED = _CENTER + ";" + _UNANSWERED + ";" + _OPEN + _TASKS
"""What a database from before it was there is given."""


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-512")
        connection.execute("PRAGMA journal_size_limit=4194304")
    except BaseException:
        connection.close()
        raise
    return connection


def claim(path: Path) -> int:
    """A lock for as long as the returned descriptor is open; it dies with the process."""
    lock = os.open(
        path.with_name(path.name + "-lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(lock)
        raise DatabaseError(f"agent database {path}: another agent is using it") from exc
    return lock


def prepare(connection: sqlite3.Connection, path: Path, ids: Ids, aside: SetAside | None) -> None:
    """Makes the tables of a new file, brings those of an earlier version up to date; refuses a file
    of a later one."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == SCHEMA_VERSION:
        connection.executescript(_ADDED)
        return
    if version == 1:
        connection.executescript("BEGIN IMMEDIATE;" + _FROM_1)
        connection.executescript(_ADDED)
        return
    if version != 0:
        raise DatabaseError(
            f"agent database {path}: schema version {version}, "
            f"expected {SCHEMA_VERSION}; it was written by another version of the agent"
        )
    epoch = ids.epoch()
    connection.executescript("BEGIN IMMEDIATE;" + _SCHEMA)
    connection.executemany(
        "INSERT INTO stream VALUES (?, ?, 0, 0)", [(stream, epoch) for stream in STREAMS]
    )
    if aside is not None:
        connection.execute("INSERT INTO aside VALUES (1, ?)", (encode(aside),))
    for statement in (_CENTER, _UNANSWERED, *filter(str.strip, _TASKS.split(";"))):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.execute("COMMIT")
