"""Begins the runs of tasks with a cron rule, one transaction for each occurrence."""

from dataclasses import dataclass, replace

from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.events import Event, EventLog
from farshore_center.tasks import store
from farshore_center.tasks.lines import drafts_of
from farshore_center.tasks.occurrences import occurrence
from farshore_center.tasks.records import Key, Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """``keys``: the instances that run anew; ``next_ms``: when to ask again."""

    keys: tuple[Key, ...] = ()
    next_ms: int | None = None


async def begin_due(
    database: Database, events: EventLog, name: str, *, now_ms: int, late_s: float
) -> Begun:
    """The occurrence that is due, if it is."""

    def work(conn: Connection) -> tuple[Begun, list[Event]]:
        task = store.load_tasks(conn, [name]).get(name)
        if task is None or task.next_ms is None or task.spec.cron is None:
            return Begun(), []
        if task.wanted != "run":
            return Begun(), []
        instances = store.instances_of(conn, [name]).get(name, [])
        busy = any(each.state in ("pending", "active") for each in instances)
        found = occurrence(
            task.spec.cron,
            task.next_ms,
            now_ms,
            busy="the run before is not over" if busy else None,
            late_s=late_s,
        )
        if found is None:
            return Begun(next_ms=task.next_ms), []
        after = replace(task, next_ms=found.next_ms)
        keys: tuple[Key, ...] = ()
        if found.at_ms is not None:
            after = replace(after, run=task.run + 1, asked_ms=found.at_ms)
            keys = tuple(each.key for each in instances)
        if not store.save_task(conn, task, after):  # another center has begun it
            return Begun(next_ms=found.next_ms), []
        state = "left_out" if found.at_ms is None else "occurrence"
        line = Line(task=name, state=state, reason=found.reason)
        store.add_lines(conn, [line], now_ms)
        appended = events.append(conn, drafts_of([line], now_ms))
        return Begun(keys=keys, next_ms=found.next_ms), appended

    begun, appended = await database.write(work)
    events.announce(appended)
    return begun
