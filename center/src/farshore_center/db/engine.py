"""Opens engines: what every connection of the center must have set.

SQLite: write-ahead log, `synchronous=FULL` (an acknowledged record survives power loss; group
commit pays for it), foreign keys. The driver's own implicit transactions are switched off, because
with them a savepoint is not one: every transaction begins by a BEGIN of ours.
"""

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy.exc
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from farshore_center.db.errors import DatabaseError

BUSY_TIMEOUT_S = 5.0
# After a burst the log file is cut back to this size at the next checkpoint.
_WAL_LIMIT_BYTES = 64 * 1024 * 1024
_CACHE_KIB = 16 * 1024


def parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except sqlalchemy.exc.ArgumentError as exc:
        raise DatabaseError(
            f"database URL {url!r} cannot be read; expected sqlite:////path/to/file.db "
            "or postgresql+psycopg://host/name"
        ) from exc
    if is_sqlite(parsed) and not Path(parsed.database or "").is_absolute():
        raise DatabaseError(
            f"database URL {url!r} names no absolute path; expected sqlite:////path/to/file.db"
        )
    return parsed


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def open_writer(url: URL, *, foreign_keys: bool = True) -> Engine:
    """An engine without a pool, for the one connection that writes.

    Foreign keys are off for migrations alone: SQLite rebuilds a table to alter it, and with
    them on, dropping the old copy would delete what refers to it.
    """
    if not is_sqlite(url):
        return _create(url, poolclass=NullPool)
    engine = _create(url, poolclass=NullPool, connect_args=_sqlite_arguments())
    switch = "ON" if foreign_keys else "OFF"
    _on_connect(
        engine,
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        f"PRAGMA foreign_keys={switch}",
        f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}",
        f"PRAGMA cache_size=-{_CACHE_KIB}",
    )
    _on_begin(engine, "BEGIN IMMEDIATE")
    return engine


def open_readers(url: URL, connections: int) -> Engine:
    """An engine with one connection per reading thread; what they open is a snapshot."""
    if not is_sqlite(url):
        return _create(url, pool_size=connections, max_overflow=0)
    engine = _create(url, pool_size=connections, max_overflow=0, connect_args=_sqlite_arguments())
    _on_connect(engine, "PRAGMA query_only=ON", f"PRAGMA cache_size=-{_CACHE_KIB}")
    _on_begin(engine, "BEGIN DEFERRED")
    return engine


def _create(url: URL, **options: Any) -> Engine:
    try:
        return create_engine(url, **options)
    except (sqlalchemy.exc.ArgumentError, ImportError) as exc:
        shown = url.render_as_string(hide_password=True)
        raise DatabaseError(f"no driver for the database {shown}: {exc}") from exc


def _sqlite_arguments() -> dict[str, Any]:
    return {"timeout": BUSY_TIMEOUT_S, "isolation_level": None, "check_same_thread": False}


def _on_connect(engine: Engine, *pragmas: str) -> None:
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in pragmas:
            try:
                connection.execute(pragma).close()
            except sqlite3.OperationalError as exc:
                # SQLAlchemy translates what fails in a statement, not what fails in a listener.
                raise sqlalchemy.exc.OperationalError(pragma, None, exc) from exc

    event.listen(engine, "connect", connected)


def _on_begin(engine: Engine, statement: str) -> None:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    event.listen(engine, "begin", begin)
