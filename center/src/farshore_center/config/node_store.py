"""What each node should run and what it said, in the database. Few statements for many rows."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from farshore_center.config.engine import NodeConfig
from farshore_center.config.model import bodies, node_configs
from farshore_center.config.plan import Body

_CHUNK = 500
_ALL_AT_ONCE = 5_000
"""More rows than these are read as the whole table."""


def load(conn: Connection, nodes: Sequence[str]) -> dict[str, NodeConfig]:
    """Those of the nodes that have a row."""
    if len(nodes) > _ALL_AT_ONCE:
        wanted = set(nodes)
        rows = conn.execute(select(node_configs)).mappings()
        return {row["node"]: _node_config(row) for row in rows if row["node"] in wanted}
    found: dict[str, NodeConfig] = {}
    for chunk in _chunks(nodes):
        question = select(node_configs).where(node_configs.c.node.in_(chunk))
        for row in conn.execute(question).mappings():
            found[row["node"]] = _node_config(row)
    return found


def save(conn: Connection, rows: Sequence[NodeConfig]) -> None:
    if not rows:
        return
    make = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
    statement = make(node_configs)
    columns = [column.name for column in node_configs.c if column.name != "node"]
    conn.execute(
        statement.on_conflict_do_update(
            index_elements=["node"], set_={name: statement.excluded[name] for name in columns}
        ),
        [_columns(row) for row in rows],
    )


def waiting(conn: Connection) -> list[str]:
    """The nodes whose desired was not answered yet."""
    question = select(node_configs.c.node).where(node_configs.c.state == "pending")
    return list(conn.execute(question).scalars())


def add_bodies(conn: Connection, new: Iterable[Body]) -> None:
    rows = [asdict(each) for each in new]
    if rows:
        make = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
        rows = [{"digest": row["digest"], "body": row["packed"]} for row in rows]
        conn.execute(make(bodies).on_conflict_do_nothing(), rows)


def load_bodies(conn: Connection, digests: Iterable[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for chunk in _chunks(digests):
        question = select(bodies.c.digest, bodies.c.body).where(bodies.c.digest.in_(chunk))
        found.update((row.digest, row.body) for row in conn.execute(question))
    return found


def drop_bodies(conn: Connection, digests: Iterable[str]) -> None:
    """Those of the configurations that no node should run any more."""
    for chunk in _chunks(digests):
        used = select(node_configs.c.digest).where(node_configs.c.digest.in_(chunk))
        conn.execute(delete(bodies).where(bodies.c.digest.in_(chunk), bodies.c.digest.not_in(used)))


def remove(conn: Connection, node: str) -> None:
    row = load(conn, [node]).get(node)
    conn.execute(delete(node_configs).where(node_configs.c.node == node))
    if row is not None and row.digest is not None:
        drop_bodies(conn, [row.digest])


def _columns(row: NodeConfig) -> dict[str, Any]:
    # Not asdict: it copies deeply, and there may be ten thousand of them.
    columns = {name: getattr(row, name) for name in NodeConfig.__slots__}
    columns["group_path"] = columns.pop("group")
    columns["labels"] = orjson.dumps(dict(row.labels))
    return columns


def _node_config(row: RowMapping) -> NodeConfig:
    columns = dict(row)
    columns["group"] = columns.pop("group_path")
    columns["labels"] = orjson.loads(columns["labels"])
    return NodeConfig(**columns)


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(dict.fromkeys(keys))
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk
