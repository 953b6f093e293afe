"""Books, losses and boot clocks in the database."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from farshore_protocol.stream import Book
from sqlalchemy import ColumnElement, Connection, RowMapping, delete, insert, select, tuple_

from farshore_center.db.upsert import upsert
from farshore_center.ingest.engine import Key, LossLine
from farshore_center.ingest.model import books, boot_clocks, losses

BOOTS_KEPT = 16
"""Clocks of a node's boots: enough for a backlog of several restarts."""


def load_books(connection: Connection, nodes: Sequence[str]) -> dict[Key, Book]:
    """Every book of these nodes, the newest epoch last."""
    statement = select(books).where(books.c.node.in_(nodes)).order_by(books.c.created_ms)
    rows = connection.execute(statement).mappings()
    return {(row["node"], row["stream"], row["epoch"]): book_of(row) for row in rows}


def book_of(row: RowMapping) -> Book:
    return Book(
        accepted=orjson.loads(row["accepted"]),
        lost=orjson.loads(row["lost"]),
        duplicates=row["duplicates"],
        head=row["head"],
    )


def book_row(key: Key, book: Book, now_ms: int) -> dict[str, Any]:
    node, stream, epoch = key
    return {
        "node": node,
        "stream": stream,
        "epoch": epoch,
        "accepted": orjson.dumps(book.accepted.pairs()),
        "lost": orjson.dumps(book.lost.pairs()),
        "duplicates": book.duplicates,
        "head": book.head,
        "created_ms": now_ms,
        "updated_ms": now_ms,
    }


def save_books(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    upsert(connection, books, rows, key=("node", "stream", "epoch"), kept=("created_ms",))


def add_losses(connection: Connection, lines: Iterable[LossLine], now_ms: int) -> None:
    rows = [
        {
            "node": line.key[0],
            "stream": line.key[1],
            "epoch": line.key[2],
            "first": line.first,
            "last": line.last,
            "reason": line.reason[:256],
            "at_ms": now_ms,
        }
        for line in lines
    ]
    if rows:
        connection.execute(insert(losses), rows)


def load_losses(connection: Connection, node: str) -> list[RowMapping]:
    statement = select(losses).where(losses.c.node == node).order_by(losses.c.id)
    return list(connection.execute(statement).mappings())


def books_of(connection: Connection, node: str) -> list[RowMapping]:
    """The books of a node, the oldest epoch first, each with ``current``."""
    order = (books.c.created_ms, books.c.epoch)
    statement = select(books, _is_current()).where(books.c.node == node).order_by(*order)
    return list(connection.execute(statement).mappings())


def books_after(connection: Connection, after: Key | None, limit: int) -> list[RowMapping]:
    """A page of all books by (node, stream, epoch), each with ``current``."""
    key = (books.c.node, books.c.stream, books.c.epoch)
    statement = select(books, _is_current()).order_by(*key).limit(limit)
    if after is not None:
        statement = statement.where(tuple_(*key) > tuple_(*after))
    return list(connection.execute(statement).mappings())


def _is_current() -> ColumnElement[bool]:
    """Whether no newer epoch of the same stream is known."""
    rival = books.alias()
    newest = (
        select(rival.c.epoch)
        .where(rival.c.node == books.c.node, rival.c.stream == books.c.stream)
        .order_by(rival.c.created_ms.desc(), rival.c.epoch.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (books.c.epoch == newest).label("current")


def load_boot_clocks(connection: Connection, nodes: Sequence[str]) -> list[tuple[str, str, int]]:
    """(node, boot, base) of these nodes, the newest last."""
    rows = connection.execute(
        select(boot_clocks.c.node, boot_clocks.c.boot, boot_clocks.c.base_ms)
        .where(boot_clocks.c.node.in_(nodes))
        .order_by(boot_clocks.c.updated_ms)
    )
    return [(node, boot, base_ms) for node, boot, base_ms in rows]


def save_boot_clock(
    connection: Connection, *, node: str, boot: str, base_ms: int, now_ms: int
) -> None:
    """Writes the clock; of a node's boots the newest ``BOOTS_KEPT`` stay."""
    row = {"node": node, "boot": boot, "base_ms": base_ms, "updated_ms": now_ms}
    upsert(connection, boot_clocks, [row], key=("node", "boot"))
    mine = boot_clocks.c.node == node
    newest = (
        select(boot_clocks.c.boot)
        .where(mine)
        .order_by(boot_clocks.c.updated_ms.desc())
        .limit(BOOTS_KEPT)
    )
    connection.execute(delete(boot_clocks).where(mine, boot_clocks.c.boot.not_in(newest)))
