"""What people ask of jobs in the database: pages, counts, waves, history. Changes nothing."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, literal_column, select

from farshore_center.jobs.model import job_nodes, jobs, steps, waves
from farshore_center.jobs.record import NodeRecord, Record
from farshore_center.jobs.store import node_of, record_of


def wave_rows(conn: Connection, job_id: str) -> list[RowMapping]:
    found = select(waves).where(waves.c.job_id == job_id).order_by(waves.c.number)
    return list(conn.execute(found).mappings())


def wave_counts(conn: Connection, job_id: str) -> dict[int, dict[str, int]]:
    """Of each wave, how many nodes are in which state; 0: in none."""
    found = (
        select(job_nodes.c.wave, job_nodes.c.state, func.count().label("number"))
        .where(job_nodes.c.job_id == job_id)
        .group_by(job_nodes.c.wave, job_nodes.c.state)
    )
    counts: dict[int, dict[str, int]] = {}
    for row in conn.execute(found):
        counts.setdefault(row.wave, {})[row.state] = row.number
    return counts


def touched(conn: Connection, job_ids: Sequence[str]) -> dict[str, int]:
    found = (
        select(job_nodes.c.job_id, func.count().label("number"))
        .where(job_nodes.c.job_id.in_(job_ids), job_nodes.c.attempts > 0)
        .group_by(job_nodes.c.job_id)
    )
    return {row.job_id: row.number for row in conn.execute(found)}


def state_counts(conn: Connection, job_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    found = (
        select(job_nodes.c.job_id, job_nodes.c.state, func.count().label("number"))
        .where(job_nodes.c.job_id.in_(job_ids))
        .group_by(job_nodes.c.job_id, job_nodes.c.state)
    )
    counts: dict[str, dict[str, int]] = {}
    for row in conn.execute(found):
        counts.setdefault(row.job_id, {})[row.state] = row.number
    return counts


def newest(
    conn: Connection,
    limit: int,
    before: tuple[int, str] | None,
    states: Sequence[str] = (),
    parent: str | None = None,
) -> list[Record]:
    found = select(jobs).order_by(jobs.c.created_ms.desc(), jobs.c.id.desc()).limit(limit)
    if before is not None:
        created_ms, job_id = before
        same = (jobs.c.created_ms == created_ms) & (jobs.c.id < job_id)
        found = found.where((jobs.c.created_ms < created_ms) | same)
    if states:
        found = found.where(jobs.c.state.in_(states))
    if parent is not None:
        found = found.where(jobs.c.parent == parent)
    return [record_of(row) for row in conn.execute(found).mappings()]


def node_page(
    conn: Connection,
    job_id: str,
    limit: int,
    after: tuple[int, str] | None,
    states: Sequence[str] = (),
    wave: int | None = None,
) -> list[NodeRecord]:
    """By wave and name, those of none last."""
    last: ColumnElement[int] = literal_column("2147483647")
    rank = func.coalesce(func.nullif(job_nodes.c.wave, 0), last)
    found: Select[Any] = select(job_nodes).where(job_nodes.c.job_id == job_id)
    if after is not None:
        of_wave, node = after
        found = found.where((rank > of_wave) | ((rank == of_wave) & (job_nodes.c.node > node)))
    if states:
        found = found.where(job_nodes.c.state.in_(states))
    if wave is not None:
        found = found.where(job_nodes.c.wave == wave)
    rows = conn.execute(found.order_by(rank, job_nodes.c.node).limit(limit))
    return [node_of(row) for row in rows]


def history(
    conn: Connection, job_id: str, limit: int, after: int, node: str | None
) -> list[RowMapping]:
    found = select(steps).where(steps.c.job_id == job_id, steps.c.id > after)
    if node is not None:
        found = found.where(steps.c.node == node)
    return list(conn.execute(found.order_by(steps.c.id).limit(limit)).mappings())
