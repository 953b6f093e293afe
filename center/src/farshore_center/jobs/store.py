"""Jobs in the database: plain functions of a connection, few statements for many rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    RowMapping,
    bindparam,
    insert,
    literal_column,
    select,
    update,
)

from farshore_center.db.upsert import upsert
from farshore_center.jobs.model import job_nodes, jobs, steps, waves
from farshore_center.jobs.record import NodeRecord, Record, Step, read_spec
from farshore_center.jobs.state import Job, JobNode, Judged, Verdict

_NODE = ("state", "reason", "wave", "attempts", "started_ms", "heard", "forgiven")


def add(
    conn: Connection, record: Record, nodes: Iterable[str], *, key: str | None, digest: str | None
) -> None:
    """A new job with a row for each node from the start."""
    row = _columns(record) | {
        "id": record.id,
        "name": record.body.name,
        "spec": record.text,
        "created_ms": record.created_ms,
        "author": record.author,
        "message": record.message,
        "idempotency_key": key,
        "request_digest": digest,
        "parent": record.parent,
        "occurrence_ms": record.occurrence_ms,
    }
    conn.execute(insert(jobs), [row])
    _add_nodes(conn, record.id, [JobNode(node=node) for node in nodes], record.created_ms)


def _add_nodes(conn: Connection, job_id: str, new: Sequence[JobNode], now_ms: int) -> None:
    if new:
        conn.execute(
            insert(job_nodes),
            [
                {"job_id": job_id, "node": e.node, "updated_ms": now_ms, **_node_columns(e)}
                for e in new
            ],
        )


def _columns(record: Record) -> dict[str, Any]:
    job = record.job
    return {
        "revision": record.revision,
        "state": job.state,
        "reason": job.reason,
        "started_ms": record.started_ms,
        "ended_ms": record.ended_ms,
        "deadline_ms": job.deadline_ms,
        "wave": job.wave,
        "wave_size": job.wave_size,
        "wave_ended_ms": job.wave_ended_ms,
        "approved": job.approved,
        "next_ms": record.next_ms,
        "start_ms": job.start_ms,
        "judged": _write_judged(record.judged),
    }


def _node_columns(each: JobNode) -> dict[str, Any]:
    return {name: getattr(each, name) for name in _NODE}


def save(conn: Connection, before: Record, after: Record) -> bool:
    """Whether the job was still at the revision that was decided on; else nothing is written."""
    statement = update(jobs).where(jobs.c.id == before.id, jobs.c.revision == before.revision)
    return conn.execute(statement.values(**_columns(after))).rowcount == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How nodes were told: by this command, or by these revisions of their configuration."""

    command_id: str | None = None
    config_revs: Mapping[str, int] | None = None


def save_nodes(
    conn: Connection,
    job_id: str,
    before: Iterable[JobNode],
    after: Iterable[JobNode],
    now_ms: int,
    told: Told | None = None,
) -> None:
    """Those that changed, and those that are new; ``told``: those that came under way."""
    known = {each.node: each for each in before}
    changed = [each for each in after if known.get(each.node) != each]
    _add_nodes(conn, job_id, [each for each in changed if each.node not in known], now_ms)
    rows: list[dict[str, Any]] = []
    ways: list[dict[str, Any]] = []
    for each in changed:
        if each.node not in known:
            continue
        key = {"of_job": job_id, "of_node": each.node}
        rows.append(key | {"updated_ms": now_ms} | _node_columns(each))
        begun = each.state in ("active", "undoing") and each.state != known[each.node].state
        if told is not None and begun:
            rev = None if told.config_revs is None else told.config_revs.get(each.node)
            ways.append(key | {"command_id": told.command_id, "config_rev": rev})
    for batch in (rows, ways):
        if batch:
            conn.execute(
                update(job_nodes).where(
                    job_nodes.c.job_id == bindparam("of_job"),
                    job_nodes.c.node == bindparam("of_node"),
                ),
                batch,
            )


def add_steps(conn: Connection, job_id: str, new: Sequence[Step], now_ms: int, by: str) -> None:
    if new:
        conn.execute(
            insert(steps),
            [
                {
                    "job_id": job_id,
                    "at_ms": now_ms,
                    "node": each.node,
                    "wave": each.wave,
                    "state": each.state,
                    "reason": each.reason,
                    "by": by,
                }
                for each in new
            ],
        )


def save_wave(conn: Connection, job_id: str, number: int, **columns: Any) -> None:
    row = {"job_id": job_id, "number": number, **columns}
    if len(columns) < 3:  # of a wave that is not opened yet, the sizes are not known
        row = {"size": 0, "nodes": 0} | row
        upsert(conn, waves, [row], key=("job_id", "number"), kept=("size", "nodes"))
    else:
        upsert(conn, waves, [row], key=("job_id", "number"))


def load(conn: Connection, job_id: str) -> Record | None:
    row = conn.execute(select(jobs).where(jobs.c.id == job_id)).mappings().one_or_none()
    return None if row is None else record_of(row)


def load_nodes(conn: Connection, job_id: str) -> list[NodeRecord]:
    """By name."""
    found = select(job_nodes).where(job_nodes.c.job_id == job_id).order_by(job_nodes.c.node)
    return [node_of(row) for row in conn.execute(found)]


def live(conn: Connection) -> list[str]:
    """The jobs of which something may still happen by itself: those that are not over, and those
    of which a node is still under way."""
    over: ColumnElement[bool] = literal_column(
        "state NOT IN ('succeeded', 'aborted', 'rolled_back')"
    )
    busy = job_nodes.c.state.in_(["active", "undoing", "retrying"])
    found = set(conn.execute(select(jobs.c.id).where(over)).scalars())
    return sorted(found | set(conn.execute(select(job_nodes.c.job_id).where(busy)).scalars()))


def by_key(conn: Connection, key: str) -> tuple[str, str | None] | None:
    row = conn.execute(
        select(jobs.c.id, jobs.c.request_digest).where(jobs.c.idempotency_key == key)
    ).one_or_none()
    return None if row is None else (row.id, row.request_digest)


def children_alive(conn: Connection, parent: str) -> list[str]:
    over = ("succeeded", "aborted", "rolled_back")
    found = select(jobs.c.id).where(jobs.c.parent == parent, jobs.c.state.not_in(over))
    return list(conn.execute(found).scalars())


def busy_elsewhere(conn: Connection, job_id: str) -> set[str]:
    """Nodes that are under way in another job."""
    busy: ColumnElement[bool] = literal_column("state IN ('active', 'undoing')")
    found = select(job_nodes.c.node).where(busy, job_nodes.c.job_id != job_id)
    return set(conn.execute(found).scalars())


def forgive(conn: Connection, job_id: str, nodes: Sequence[str]) -> None:
    if nodes:
        conn.execute(
            update(job_nodes)
            .where(job_nodes.c.job_id == job_id, job_nodes.c.node == bindparam("of_node"))
            .values(forgiven=True),
            [{"of_node": node} for node in nodes],
        )


def record_of(row: RowMapping) -> Record:
    spec = read_spec(row["spec"])
    job = Job(
        id=row["id"],
        rules=spec.rules,
        state=row["state"],
        reason=row["reason"],
        following=spec.following,
        start_ms=row["start_ms"],
        deadline_ms=row["deadline_ms"],
        wave=row["wave"],
        wave_size=row["wave_size"],
        wave_ended_ms=row["wave_ended_ms"],
        approved=row["approved"],
    )
    return Record(
        job=job,
        text=row["spec"],
        created_ms=row["created_ms"],
        author=row["author"],
        message=row["message"],
        revision=row["revision"],
        started_ms=row["started_ms"],
        ended_ms=row["ended_ms"],
        parent=row["parent"],
        occurrence_ms=row["occurrence_ms"],
        next_ms=row["next_ms"],
        judged=_read_judged(row["judged"]),
    )


def save_judged(conn: Connection, record: Record, judged: Judged) -> None:
    """Verdicts that move nothing; they are no step, and the job keeps its revision."""
    statement = update(jobs).where(jobs.c.id == record.id, jobs.c.revision == record.revision)
    conn.execute(statement.values(judged=_write_judged(judged)))


def _write_judged(judged: Judged | None) -> str | None:
    return (
        None
        if judged is None
        else orjson.dumps([judged.at_ms, list(map(list, judged.verdicts))]).decode()
    )


def _read_judged(text: str | None) -> Judged | None:
    if text is None:
        return None
    at_ms, verdicts = orjson.loads(text)
    return Judged(at_ms, tuple(Verdict(*each) for each in verdicts))


def node_of(row: Row[Any]) -> NodeRecord:
    each = JobNode(
        node=row.node,
        state=row.state,
        wave=row.wave,
        attempts=row.attempts,
        started_ms=row.started_ms,
        heard=row.heard,
        forgiven=bool(row.forgiven),
        reason=row.reason,
    )
    return NodeRecord(
        each=each,
        updated_ms=row.updated_ms,
        command_id=row.command_id,
        config_rev=row.config_rev,
    )
