"""Instances in the database; whoever writes one compares and sets its version."""

from collections.abc import Iterable, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from farshore_center.tasks.model import instances, tasks
from farshore_center.tasks.records import Instance, Key
from farshore_center.tasks.store.rows import (
    INSTANCE_SET,
    chunks,
    instance_columns,
    read_instance,
)

_UNSETTLED: ColumnElement[bool] = literal_column("state IN ('pending', 'active')")


def load_instances(conn: Connection, keys: Iterable[Key]) -> dict[Key, Instance]:
    found: dict[Key, Instance] = {}
    for chunk in chunks(keys):
        question = select(instances).where(
            tuple_(instances.c.task, instances.c.instance).in_(chunk)
        )
        for row in conn.execute(question).mappings():
            found[row["task"], row["instance"]] = read_instance(row)
    return found


def lock_instances(conn: Connection, keys: Iterable[Key]) -> bool:
    """Until the end of this transaction nobody else writes what is decided or recorded of them; in one order,
    so that two centers don't wait for each other. False: there is no other writer (SQLite)."""
    if conn.dialect.name == "sqlite":
        return False
    for chunk in chunks(sorted(keys)):
        question = select(instances.c.version).where(
            tuple_(instances.c.task, instances.c.instance).in_(chunk)
        )
        order = (instances.c.task, instances.c.instance)
        conn.execute(question.order_by(*order).with_for_update()).all()
    return True


def instances_of(conn: Connection, names: Sequence[str]) -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = {}
    for chunk in chunks(names):
        question = select(instances).where(instances.c.task.in_(chunk))
        for row in conn.execute(question.order_by(instances.c.instance)).mappings():
            found.setdefault(row["task"], []).append(read_instance(row))
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
        instance_columns(each)
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
            **instance_columns(after),
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
    .values({name: bindparam(name) for name in ("version", *INSTANCE_SET)})
)


def remove_instances(conn: Connection, keys: Sequence[Key]) -> None:
    for task, instance in keys:
        conn.execute(
            delete(instances).where(instances.c.task == task, instances.c.instance == instance)
        )
