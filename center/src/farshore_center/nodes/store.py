"""Rows of nodes: upserts of what the registry holds, and the facts."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, delete, select

from farshore_center.db.upsert import upsert as write_rows
from farshore_center.nodes.model import nodes


def upsert(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Writes the rows, new or not; what a row does not name stays as it is."""
    write_rows(connection, nodes, rows, key=("name",), kept=("created_ms",))


def set_facts(
    connection: Connection, found: Iterable[tuple[str, str, dict[str, Any]]], now_ms: int
) -> None:
    """(node, digest, facts) of nodes; one whose birth is still under way gets its row here."""
    rows = [
        {"name": node, "created_ms": now_ms, "facts": orjson.dumps(facts), "facts_digest": digest}
        for node, digest, facts in found
    ]
    upsert(connection, rows)


def facts_of(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    rows = connection.execute(select(nodes.c.name, nodes.c.facts).where(nodes.c.name.in_(names)))
    return {name: orjson.loads(facts) for name, facts in rows}


def remove(connection: Connection, name: str) -> None:
    connection.execute(delete(nodes).where(nodes.c.name == name))
