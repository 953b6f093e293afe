"""What nodes are to do, by number, and which of them are drained."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from farshore_center.db.upsert import upsert
from farshore_center.tasks.model import node_tasks
from farshore_center.tasks.records import NodeTasks
from farshore_center.tasks.store.rows import chunks


def load_nodes(conn: Connection, names: Iterable[str]) -> dict[str, NodeTasks]:
    found: dict[str, NodeTasks] = {}
    for chunk in chunks(names):
        rows = conn.execute(select(node_tasks).where(node_tasks.c.node.in_(chunk))).mappings()
        found.update((row["node"], NodeTasks(**row)) for row in rows)
    return found


def all_nodes(conn: Connection) -> dict[str, NodeTasks]:
    rows = conn.execute(select(node_tasks)).mappings()
    return {row["node"]: NodeTasks(**row) for row in rows}


def save_nodes(conn: Connection, rows: Iterable[NodeTasks]) -> None:
    columns = [{name: getattr(row, name) for name in NodeTasks.__slots__} for row in rows]
    upsert(conn, node_tasks, columns, key=("node",))


def bump(conn: Connection, nodes: Iterable[str]) -> None:
    """The documents of these nodes changed, in this transaction."""
    rows: list[dict[str, Any]] = [
        {"node": node, "rev": 1, "heard_rev": 0, "drained": False} for node in sorted(nodes)
    ]
    if not rows:
        return
    known = load_nodes(conn, [row["node"] for row in rows])
    if known:
        conn.execute(
            update(node_tasks)
            .where(node_tasks.c.node == bindparam("of_node"))
            .values(rev=node_tasks.c.rev + 1),
            [{"of_node": node} for node in known],
        )
    new = [row for row in rows if row["node"] not in known]
    if new:
        conn.execute(insert(node_tasks), new)


def unheard(conn: Connection) -> list[str]:
    """Nodes that have not said that they have their newest document."""
    question = select(node_tasks.c.node).where(node_tasks.c.heard_rev < node_tasks.c.rev)
    return list(conn.execute(question).scalars())


def remove_node(conn: Connection, node: str) -> None:
    conn.execute(delete(node_tasks).where(node_tasks.c.node == node))
