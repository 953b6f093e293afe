"""``INSERT … ON CONFLICT DO UPDATE`` for rows of dictionaries, in the dialect of the database.

A statement is built once for each table and set of columns: building one takes longer than SQLite
takes to run it.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    *,
    key: tuple[str, ...],
    kept: tuple[str, ...] = (),
) -> None:
    """Writes the rows, new or not. All name the same columns; of a row that is there, ``kept`` and
    what is not named stay as they are."""
    if rows:
        columns = tuple(rows[0])
        connection.execute(
            _statement(table, connection.dialect.name, columns, key, kept), list(rows)
        )


@cache
def _statement(
    table: Table,
    dialect: str,
    columns: tuple[str, ...],
    key: tuple[str, ...],
    kept: tuple[str, ...],
) -> Insert:
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    insert = make(table)
    changed = {name: insert.excluded[name] for name in columns if name not in key + kept}
    return insert.on_conflict_do_update(index_elements=list(key), set_=changed)
