"""The identity's rows: plain functions of a connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from farshore_center.identity.model import aheads, centers, epochs
from farshore_center.identity.recognition import Epoch

# The driver's own words: it goes with every group of records, and building and compiling it there
# would cost four times what it costs.
_ADVANCE = {
    "sqlite": "UPDATE center_epoch SET generation = ? WHERE epoch = ?",
    "postgresql": "UPDATE center_epoch SET generation = %s WHERE epoch = %s",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    database: str
    state: str
    since_ms: int
    restored_number: int
    epochs: Mapping[str, Epoch]


def begin(connection: Connection, *, database: str, epoch: str, now_ms: int) -> Loaded:
    """Writes the start ``epoch``; ``database`` names a database that has no name yet."""
    row = connection.execute(select(centers)).mappings().one_or_none()
    if row is None:
        connection.execute(
            insert(centers), {"id": 1, "database": database, "state": "normal", "since_ms": now_ms}
        )
        row = connection.execute(select(centers)).mappings().one()
    number, generation = connection.execute(
        select(
            func.coalesce(func.max(epochs.c.number), 0),
            func.coalesce(func.max(epochs.c.generation).filter(epochs.c.known), 0),
        )
    ).one()
    connection.execute(
        insert(epochs),
        {"epoch": epoch, "number": number + 1, "generation": generation, "began_ms": now_ms},
    )
    return Loaded(
        database=row["database"],
        state=row["state"],
        since_ms=row["since_ms"],
        restored_number=row["restored_number"],
        epochs={
            each["epoch"]: Epoch(
                number=each["number"], generation=each["generation"], known=each["known"]
            )
            for each in connection.execute(select(epochs)).mappings()
        },
    )


def advance(connection: Connection, epoch: str, generation: int) -> None:
    connection.exec_driver_sql(_ADVANCE[connection.dialect.name], (generation, epoch))


def set_state(
    connection: Connection, state: str, *, now_ms: int, restored_number: int | None = None
) -> None:
    changed: dict[str, Any] = {"state": state, "since_ms": now_ms}
    if restored_number is not None:
        changed["restored_number"] = restored_number
    connection.execute(update(centers).values(**changed))


def cut(connection: Connection, epoch: str) -> None:
    """Nodes have seen more of this start than the database holds."""
    connection.execute(update(epochs).where(epochs.c.epoch == epoch).values(cut=True))


def add_lost_epoch(connection: Connection, epoch: str, number: int, now_ms: int) -> None:
    """A start that only a node tells of."""
    connection.execute(
        insert(epochs),
        {"epoch": epoch, "number": number, "generation": 0, "began_ms": now_ms}
        | {"known": False, "cut": True},
    )


def cut_epochs(connection: Connection) -> list[RowMapping]:
    statement = select(epochs).where(epochs.c.cut).order_by(epochs.c.number, epochs.c.began_ms)
    return list(connection.execute(statement).mappings())


def save_ahead(
    connection: Connection, *, node: str, epoch: str, generation: int, now_ms: int
) -> None:
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = {"epoch": epoch, "generation": generation, "at_ms": now_ms}
    statement = make(aheads).values(node=node, streams=b"[]", **row)
    connection.execute(statement.on_conflict_do_update(index_elements=["node"], set_=row))


def save_missing(connection: Connection, found: Sequence[tuple[str, list[dict[str, Any]]]]) -> None:
    """What was missing of the streams of nodes that are ahead."""
    for node, streams in found:
        connection.execute(
            update(aheads).where(aheads.c.node == node).values(streams=orjson.dumps(streams))
        )


def load_aheads(connection: Connection) -> list[RowMapping]:
    return list(connection.execute(select(aheads).order_by(aheads.c.node)).mappings())
