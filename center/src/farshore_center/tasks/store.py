"""Tasks in the database: plain functions of a connection, few statements for many rows."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
import orjson
from farshore_protocol.tasks import TaskSpec
from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from farshore_center.db.upsert import upsert
from farshore_center.tasks.model import (
    grants,
    instances,
    node_tasks,
    revisions,
    steps,
    tasks,
)
from farshore_center.tasks.records import (
    Granted,
    GrantKey,
    Instance,
    Key,
    Line,
    NodeTasks,
    Task,
)

T = TypeVar("T", str, tuple[str, int], tuple[str, int, int])

_CHUNK = 300

_UNSETTLED: ColumnElement[bool] = literal_column("state IN ('pending', 'active')")
_LIVE: ColumnElement[bool] = literal_column(
    "state NOT IN ('stopped', 'succeeded', 'failed', 'rejected', 'withdrawn')"
)

_INSTANCE = tuple(column.name for column in instances.c)
_INSTANCE_SET = tuple(name for name in _INSTANCE if name not in ("task", "instance", "version"))
_GRANT_SET = tuple(
    column.name for column in grants.c if column.name not in ("task", "instance", "epoch")
)


@lru_cache(maxsize=4096)
def read_spec(text: str) -> TaskSpec:
    """What was checked when it was put."""
    return msgspec.json.decode(text.encode(), type=TaskSpec)


def write_spec(spec: TaskSpec) -> str:
    return msgspec.json.encode(spec, order="sorted").decode()


# Tasks


def load_tasks(conn: Connection, names: Iterable[str]) -> dict[str, Task]:
    found: dict[str, Task] = {}
    for chunk in _chunks(names):
        rows = conn.execute(select(tasks).where(tasks.c.name.in_(chunk))).mappings()
        found.update((row["name"], _task(row)) for row in rows)
    return found


def page_of_tasks(conn: Connection, limit: int, after: str | None) -> list[Task]:
    question = select(tasks).order_by(tasks.c.name).limit(limit)
    if after is not None:
        question = question.where(tasks.c.name > after)
    return [_task(row) for row in conn.execute(question).mappings()]


def add_task(conn: Connection, task: Task) -> None:
    conn.execute(insert(tasks), [_task_columns(task)])
    _add_revision(conn, task)


def save_task(conn: Connection, before: Task, after: Task) -> bool:
    """False: somebody was quicker."""
    changed = conn.execute(
        update(tasks)
        .where(
            tasks.c.name == before.name,
            tasks.c.revision == before.revision,
            tasks.c.run == before.run,
            tasks.c.wanted == before.wanted,
        )
        .values(_task_columns(after))
    )
    if changed.rowcount and after.revision != before.revision:
        _add_revision(conn, after)
    return bool(changed.rowcount)


def _add_revision(conn: Connection, task: Task) -> None:
    row = {"task": task.name, "revision": task.revision, "spec": write_spec(task.spec)}
    conn.execute(insert(revisions), [row | {"author": task.author, "at_ms": task.updated_ms}])


def remove_task(conn: Connection, name: str) -> None:
    conn.execute(delete(tasks).where(tasks.c.name == name))


def next_occurrences(conn: Connection) -> list[tuple[str, int]]:
    question = select(tasks.c.name, tasks.c.next_ms).where(tasks.c.next_ms.is_not(None))
    return [(row.name, row.next_ms) for row in conn.execute(question)]


def specs(conn: Connection, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], TaskSpec]:
    """By task and revision."""
    found: dict[tuple[str, int], TaskSpec] = {}
    for chunk in _chunks(wanted):
        question = select(revisions).where(
            tuple_(revisions.c.task, revisions.c.revision).in_(chunk)
        )
        for row in conn.execute(question):
            found[row.task, row.revision] = read_spec(row.spec)
    return found


# Instances


def load_instances(conn: Connection, keys: Iterable[Key]) -> dict[Key, Instance]:
    found: dict[Key, Instance] = {}
    for chunk in _chunks(keys):
        question = select(instances).where(
            tuple_(instances.c.task, instances.c.instance).in_(chunk)
        )
        for row in conn.execute(question).mappings():
            found[row["task"], row["instance"]] = _instance(row)
    return found


def instances_of(conn: Connection, names: Sequence[str]) -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = {}
    for chunk in _chunks(names):
        question = select(instances).where(instances.c.task.in_(chunk))
        for row in conn.execute(question.order_by(instances.c.instance)).mappings():
            found.setdefault(row["task"], []).append(_instance(row))
    return found


def unsettled(conn: Connection) -> list[Key]:
    """Instances that are to be looked at when a center begins."""
    question = select(instances.c.task, instances.c.instance).where(_UNSETTLED)
    return [(row.task, row.instance) for row in conn.execute(question)]


def begun_anew(conn: Connection) -> list[Key]:
    """Those whose run is over, and that are to run again or to go: a center may have died in between."""
    question = (
        select(instances.c.task, instances.c.instance)
        .join(tasks, tasks.c.name == instances.c.task)
        .where(or_(instances.c.run < tasks.c.run, tasks.c.wanted == "delete"))
    )
    return [(row.task, row.instance) for row in conn.execute(question)]


def add_instances(conn: Connection, new: Sequence[Instance]) -> None:
    rows = [
        _instance_columns(each)
        | {"task": each.task, "instance": each.instance, "version": each.version + 1}
        for each in new
    ]
    if rows:
        conn.execute(insert(instances), rows)


def save_instance(conn: Connection, before: Instance, after: Instance) -> bool:
    """Compare and set on the version; False: somebody was quicker."""
    changed = conn.execute(
        _SAVE_INSTANCE,
        {
            "of_task": before.task,
            "of_instance": before.instance,
            "of_version": before.version,
            "version": before.version + 1,
            **_instance_columns(after),
        },
    )
    return bool(changed.rowcount)


_SAVE_INSTANCE = (
    update(instances)
    .where(
        instances.c.task == bindparam("of_task"),
        instances.c.instance == bindparam("of_instance"),
        instances.c.version == bindparam("of_version"),
    )
    .values({name: bindparam(name) for name in ("version", *_INSTANCE_SET)})
)


def remove_instances(conn: Connection, keys: Sequence[Key]) -> None:
    for task, instance in keys:
        conn.execute(
            delete(instances).where(instances.c.task == task, instances.c.instance == instance)
        )


# Grants


def live_grants(conn: Connection, keys: Iterable[Key]) -> dict[Key, list[Granted]]:
    """Those that have not ended, of these instances."""
    found: dict[Key, list[Granted]] = {}
    for chunk in _chunks(keys):
        question = select(grants).where(tuple_(grants.c.task, grants.c.instance).in_(chunk), _LIVE)
        for row in conn.execute(question).mappings():
            found.setdefault((row["task"], row["instance"]), []).append(_grant(row))
    return found


def load_grants(conn: Connection, keys: Iterable[GrantKey]) -> dict[GrantKey, Granted]:
    found: dict[GrantKey, Granted] = {}
    for chunk in _chunks(keys):
        question = select(grants).where(
            tuple_(grants.c.task, grants.c.instance, grants.c.epoch).in_(chunk)
        )
        for row in conn.execute(question).mappings():
            grant = _grant(row)
            found[grant.key] = grant
    return found


def all_live_grants(conn: Connection) -> list[Granted]:
    return [_grant(row) for row in conn.execute(select(grants).where(_LIVE)).mappings()]


def grants_on(conn: Connection, nodes: Iterable[str]) -> dict[str, list[Granted]]:
    """Live ones, by node: what its document says."""
    found: dict[str, list[Granted]] = {}
    for chunk in _chunks(nodes):
        question = select(grants).where(grants.c.node.in_(chunk), _LIVE)
        for row in conn.execute(question.order_by(grants.c.task, grants.c.instance)).mappings():
            found.setdefault(row["node"], []).append(_grant(row))
    return found


def save_grants(conn: Connection, changed: Sequence[Granted]) -> None:
    """New ones, and what changed."""
    upsert(
        conn,
        grants,
        [_grant_columns(each) for each in changed],
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


# What nodes are to do


def load_nodes(conn: Connection, names: Iterable[str]) -> dict[str, NodeTasks]:
    found: dict[str, NodeTasks] = {}
    for chunk in _chunks(names):
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


# History


def add_lines(conn: Connection, lines: Sequence[Line], now_ms: int) -> None:
    if lines:
        conn.execute(
            insert(steps),
            [
                {
                    "task": line.task,
                    "instance": line.instance,
                    "epoch": line.epoch,
                    "node": line.node,
                    "at_ms": now_ms,
                    "state": line.state,
                    "reason": line.reason,
                    "author": line.by,
                }
                for line in lines
            ],
        )


def history(
    conn: Connection, task: str, limit: int, instance: int | None = None
) -> list[RowMapping]:
    """The newest, the oldest of them first."""
    question = select(steps).where(steps.c.task == task)
    if instance is not None:
        question = question.where(steps.c.instance == instance)
    found = conn.execute(question.order_by(steps.c.id.desc()).limit(limit)).mappings().all()
    return list(reversed(found))


def prune_history(conn: Connection, keep: int) -> int:
    newest = conn.execute(select(func.max(steps.c.id))).scalar()
    if newest is None or newest <= keep:
        return 0
    return conn.execute(delete(steps).where(steps.c.id <= newest - keep)).rowcount


# Rows


def _task(row: RowMapping) -> Task:
    return Task(**{**row, "spec": read_spec(row["spec"])})


def _task_columns(task: Task) -> dict[str, Any]:
    columns = {name: getattr(task, name) for name in Task.__slots__}
    return columns | {"spec": write_spec(task.spec)}


def _instance(row: RowMapping) -> Instance:
    return Instance(**{**row, "avoid": tuple(orjson.loads(row["avoid"]))})


def _instance_columns(each: Instance) -> dict[str, Any]:
    columns: dict[str, Any] = {name: getattr(each, name) for name in _INSTANCE_SET}
    return columns | {"avoid": orjson.dumps(each.avoid).decode()}


def _grant(row: RowMapping) -> Granted:
    columns: dict[str, Any] = dict(row)
    columns["gpus"] = tuple(orjson.loads(columns["gpus"]))
    columns["cpus"] = tuple(orjson.loads(columns["cpus"]))
    return Granted(**columns)


def _grant_columns(each: Granted) -> dict[str, Any]:
    columns: dict[str, Any] = {name: getattr(each, name) for name in Granted.__slots__}
    return columns | {
        "gpus": orjson.dumps(each.gpus).decode(),
        "cpus": orjson.dumps(each.cpus).decode(),
    }


def _chunks(keys: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(sorted(set(keys)))  # so that a seed replays to the byte
    while chunk := list(itertools.islice(iterator, _CHUNK)):
        yield chunk
