"""Grants in the database."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, Connection, delete, literal_column, select, tuple_

from farshore_center.db.upsert import upsert
from farshore_center.tasks.model import grants, instances
from farshore_center.tasks.records import Granted, GrantKey, Key
from farshore_center.tasks.store.rows import chunks, grant_columns, read_grant

TOLD = ("stopped", "succeeded", "failed")
"""Ends of something that was at its node."""
LIVE: ColumnElement[bool] = literal_column(
    "state NOT IN ('stopped', 'succeeded', 'failed', 'rejected', 'withdrawn')"
)


def live_grants(conn: Connection, keys: Iterable[Key]) -> dict[Key, list[Granted]]:
    """Those that have not ended, of these instances."""
    found: dict[Key, list[Granted]] = {}
    for chunk in chunks(keys):
        question = select(grants).where(tuple_(grants.c.task, grants.c.instance).in_(chunk), LIVE)
        for row in conn.execute(question).mappings():
            found.setdefault((row["task"], row["instance"]), []).append(read_grant(row))
    return found


def load_grants(conn: Connection, keys: Iterable[GrantKey]) -> dict[GrantKey, Granted]:
    found: dict[GrantKey, Granted] = {}
    for chunk in chunks(keys):
        question = select(grants).where(
            tuple_(grants.c.task, grants.c.instance, grants.c.epoch).in_(chunk)
        )
        for row in conn.execute(question).mappings():
            grant = read_grant(row)
            found[grant.key] = grant
    return found


def all_live_grants(conn: Connection) -> list[Granted]:
    return [read_grant(row) for row in conn.execute(select(grants).where(LIVE)).mappings()]


def grants_on(conn: Connection, nodes: Iterable[str]) -> dict[str, list[Granted]]:
    """Live ones, by node: what its document says."""
    found: dict[str, list[Granted]] = {}
    for chunk in chunks(nodes):
        question = select(grants).where(grants.c.node.in_(chunk), LIVE)
        for row in conn.execute(question.order_by(grants.c.task, grants.c.instance)).mappings():
            found.setdefault(row["node"], []).append(read_grant(row))
    return found


def ended_on(
    conn: Connection, nodes: Iterable[str], since_ms: int, most: int
) -> dict[str, list[Granted]]:
    """Of each node those that it has told the end of since then, the newest first, at most so many."""
    found: dict[str, list[Granted]] = {}
    for chunk in chunks(nodes):
        question = select(grants).where(
            grants.c.node.in_(chunk), grants.c.ended_ms > since_ms, grants.c.state.in_(TOLD)
        )
        for row in conn.execute(question.order_by(grants.c.ended_ms.desc())).mappings():
            held = found.setdefault(row["node"], [])
            if len(held) < most:
                held.append(read_grant(row))
    return found


def nodes_with_ended(conn: Connection, after_ms: int, until_ms: int) -> set[str]:
    """On which something has ended in this time."""
    question = select(grants.c.node).where(
        grants.c.ended_ms > after_ms, grants.c.ended_ms <= until_ms, grants.c.state.in_(TOLD)
    )
    return set(conn.execute(question.distinct()).scalars())


def save_grants(conn: Connection, changed: Sequence[Granted]) -> None:
    """New ones, and what changed."""
    upsert(
        conn,
        grants,
        [grant_columns(each) for each in changed],
        key=("task", "instance", "epoch"),
        kept=("granted_ms",),
    )


def prune_grants(conn: Connection, before_ms: int) -> int:
    """Those that ended before, and are nobody's current one."""
    current = (
        select(instances.c.epoch)
        .where(instances.c.task == grants.c.task, instances.c.instance == grants.c.instance)
        .scalar_subquery()
    )
    gone = conn.execute(
        delete(grants).where(grants.c.ended_ms < before_ms, grants.c.epoch != current)
    )
    return gone.rowcount
