"""The run that an occurrence of a cron rule begins: decided, written and told in one transaction.

The task's ``next_ms`` is compared and set with it, so an occurrence begins one run, whoever else looks at it
and whenever the center dies.
"""

from dataclasses import dataclass, replace

from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection, update

from farshore_center.tasks import store
from farshore_center.tasks.model import tasks
from farshore_center.tasks.occurrences import LATE_S, first_ms, occurrence
from farshore_center.tasks.records import Line, Task

UNDER_WAY = ("pending", "active")


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurred:
    """The task as it is now. ``begun``: a new run of its instances; the lines of history are written,
    and are to be told."""

    task: Task
    begun: bool
    lines: tuple[Line, ...]


def occur(conn: Connection, name: str, now_ms: int, late_s: float = LATE_S) -> Occurred | None:
    """None: it is not due, or somebody was quicker."""
    task = store.load_tasks(conn, [name]).get(name)
    if task is None or task.next_ms is None or task.spec.cron is None or task.wanted != "run":
        return None
    found = occurrence(task.spec.cron, task.next_ms, now_ms, busy=_busy(conn, task), late_s=late_s)
    if found is None:
        return None
    after = replace(task, next_ms=found.next_ms)
    if found.at_ms is not None:
        after = replace(after, run=task.run + 1, asked_ms=found.at_ms)
    if not _save(conn, task, after):
        return None
    begun = found.at_ms is not None
    line = Line(task=name, state="occurrence" if begun else "left_out", reason=found.reason)
    store.add_lines(conn, [line], now_ms)
    return Occurred(task=after, begun=begun, lines=(line,))


def next_of(spec: TaskSpec, now_ms: int) -> int | None:
    """``next_ms`` of a task that is put or started."""
    return None if spec.cron is None else first_ms(spec.cron, now_ms)


def _busy(conn: Connection, task: Task) -> str | None:
    alive = [
        each
        for each in store.instances_of(conn, [task.name]).get(task.name, ())
        if each.state in UNDER_WAY and each.instance < task.spec.count
    ]
    if not alive:
        return None
    more = f" and {len(alive) - 1} more" if len(alive) > 1 else ""
    return f"the run before is not over: instance {alive[0].instance}{more}"


def _save(conn: Connection, before: Task, after: Task) -> bool:
    changed = conn.execute(
        update(tasks)
        .where(
            tasks.c.name == before.name,
            tasks.c.next_ms == before.next_ms,
            tasks.c.run == before.run,
            tasks.c.wanted == before.wanted,
        )
        .values(run=after.run, asked_ms=after.asked_ms, next_ms=after.next_ms)
    )
    return bool(changed.rowcount)
