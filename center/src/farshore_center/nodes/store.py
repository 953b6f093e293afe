"""Rows of nodes: upserts of what the registry holds, and the facts; with them, their values.

``node_value`` follows the labels and facts of a row in the same transaction: whoever writes them
here changes the difference there, and nothing where nothing changed.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from farshore_center.db.upsert import upsert as write_rows
from farshore_center.nodes.model import node_values, nodes
from farshore_center.selectors.values import Value, fact_values, label_values

_CHUNK = 500
"""Names in one question: well below the number of parameters that a statement may have."""

Values = frozenset[tuple[str, Value]]

_NOTHING = {"labels": b"{}", "facts": b"{}"}


def upsert(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Writes the rows, new or not; what a row does not name stays as it is."""
    if rows:
        _follow(connection, rows)
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
    _follow(connection, [{"name": name, **_NOTHING}])
    connection.execute(delete(nodes).where(nodes.c.name == name))


def nobody_is_online(connection: Connection) -> None:
    """At the start: a center that starts has heard nobody yet."""
    connection.execute(update(nodes).where(nodes.c.online).values(online=False))


def lay_out(connection: Connection) -> None:
    """Fills an empty ``node_value`` from the rows: after the migration that made it."""
    if connection.execute(select(node_values.c.node).limit(1)).first() is not None:
        return
    found = select(nodes.c.name, nodes.c.labels, nodes.c.facts)
    for row in connection.execute(found).mappings().all():
        _replace(connection, row["name"], frozenset(), _values(dict(row)))


def _follow(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
    """Changes the values of the nodes to what the rows say, as far as they say it."""
    new = {row["name"]: row for row in rows}
    names = iter(new)
    while chunk := list(itertools.islice(names, _CHUNK)):
        columns = [nodes.c.name, *(nodes.c[what] for what in _NOTHING if what in new[chunk[0]])]
        found = connection.execute(select(*columns).where(nodes.c.name.in_(chunk))).mappings()
        old = {row["name"]: dict(row) for row in found}
        for name in chunk:
            before, after = old.get(name, {}), new[name]
            changed = [
                what for what in _NOTHING
                if what in after and after[what] != before.get(what, _NOTHING[what])
            ]  # fmt: skip
            if changed:
                _replace(
                    connection,
                    name,
                    _values({what: before.get(what, b"{}") for what in changed}),
                    _values({what: after[what] for what in changed}),
                )


def _values(row: Mapping[str, Any]) -> Values:
    """Those of its labels and facts, of what it holds of them."""
    found: Values = frozenset()
    if "labels" in row:
        found |= label_values(orjson.loads(row["labels"]))
    if "facts" in row:
        found |= fact_values(orjson.loads(row["facts"]))
    return found


def _replace(connection: Connection, node: str, old: Values, new: Values) -> None:
    gone, come = old - new, new - old
    if gone:
        key = (node_values.c[part] == bindparam(f"of_{part}") for part in _KEY)
        connection.execute(
            delete(node_values).where(*key),
            [
                {"of_path": path, "of_text": v.text, "of_kind": v.kind, "of_node": node}
                for path, v in gone
            ],
        )
    if come:
        connection.execute(
            insert(node_values),
            [
                {"path": path, "text": v.text, "kind": v.kind, "node": node, "num": v.num}
                for path, v in sorted(come)
            ],
        )


_KEY = ("path", "text", "kind", "node")
