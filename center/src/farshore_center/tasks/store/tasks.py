"""Tasks and the revisions of their specifications in the database."""

from collections.abc import Iterable

from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection, delete, insert, select, tuple_, update

from farshore_center.tasks.model import revisions, tasks
from farshore_center.tasks.records import Task
from farshore_center.tasks.store.rows import chunks, read_spec, read_task, task_columns, write_spec


def load_tasks(conn: Connection, names: Iterable[str]) -> dict[str, Task]:
    found: dict[str, Task] = {}
    for chunk in chunks(names):
        rows = conn.execute(select(tasks).where(tasks.c.name.in_(chunk))).mappings()
        found.update((row["name"], read_task(row)) for row in rows)
    return found


def page_of_tasks(conn: Connection, limit: int, after: str | None) -> list[Task]:
    question = select(tasks).order_by(tasks.c.name).limit(limit)
    if after is not None:
        question = question.where(tasks.c.name > after)
    return [read_task(row) for row in conn.execute(question).mappings()]


def add_task(conn: Connection, task: Task) -> None:
    conn.execute(insert(tasks), [task_columns(task)])
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
        .values(task_columns(after))
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
    for chunk in chunks(wanted):
        question = select(revisions).where(
            tuple_(revisions.c.task, revisions.c.revision).in_(chunk)
        )
        for row in conn.execute(question):
            found[row.task, row.revision] = read_spec(row.spec)
    return found
