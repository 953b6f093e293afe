"""What people do to a task, as the rows that it leaves: functions of a connection, one transaction each.

They change the task and write its history; its instances are the engine's, which is told by who calls them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.config.request import check_match
from farshore_center.tasks import quota_store, store
from farshore_center.tasks.occurring import UNDER_WAY, next_of
from farshore_center.tasks.records import Instance, Key, Line, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """``look``: instances that are to be looked at; ``lines``: written, and to be told as events."""

    task: Task
    lines: tuple[Line, ...] = ()
    look: tuple[Key, ...] = ()
    created: bool = False

    @property
    def changed(self) -> bool:
        return bool(self.lines)


def digest_of(spec: TaskSpec) -> str:
    return "sha256:" + sha256(store.write_spec(spec).encode()).hexdigest()


def known(conn: Connection, name: str) -> Task:
    """Problem 404."""
    task = store.load_tasks(conn, [name]).get(name)
    if task is None:
        raise Problem(
            status=404, title="No such task", detail=f"there is no task {name[:80]!a}", field="name"
        )
    return task


def put(
    conn: Connection, name: str, spec: TaskSpec, if_match: str | None, by: str, now_ms: int
) -> Changed:
    """Makes or changes it; what is as it was already stays. Problem 409 for a quota and while it is being
    deleted, 412 where ``if_match`` is not its revision."""
    before = store.load_tasks(conn, [name]).get(name)
    check_match(f"the task {name}", 0 if before is None else before.revision, if_match)
    if before is not None and before.wanted == "delete":
        raise _deleting(before)
    digest = digest_of(spec)
    if before is not None and before.digest == digest:
        return Changed(task=before)
    if before is None or before.wanted == "run":
        quota_store.check(conn, name, spec)
    if before is None:
        task = Task(
            name=name,
            revision=1,
            spec=spec,
            digest=digest,
            author=by,
            created_ms=now_ms,
            updated_ms=now_ms,
            asked_ms=now_ms,
            next_ms=next_of(spec, now_ms),
        )
        store.add_task(conn, task)
    else:
        task = replace(
            before,
            revision=before.revision + 1,
            spec=spec,
            digest=digest,
            author=by,
            updated_ms=now_ms,
            next_ms=_next(before, spec, now_ms),
        )
        _save(conn, before, task)
    line = Line(task=name, state="put", reason=f"revision {task.revision}", by=by)
    return _told(conn, task, line, now_ms, created=before is None)


def stop(conn: Connection, name: str, by: str, now_ms: int) -> Changed:
    """Every instance ends, and the task stays."""
    before = _present(conn, name)
    if before.wanted == "stop":
        return Changed(task=before)
    after = replace(before, wanted="stop", next_ms=None, updated_ms=now_ms)
    _save(conn, before, after)
    return _told(conn, after, Line(task=name, state="stop", by=by), now_ms)


def start(conn: Connection, name: str, by: str, now_ms: int) -> Changed:
    """A stopped task runs again, and a batch that is over runs once more; what runs already stays."""
    before = _present(conn, name)
    over = not any(each.state in UNDER_WAY for each in _instances(conn, before))
    again = before.wanted == "stop" or (before.spec.kind == "batch" and over)
    if not again:
        return Changed(task=before)
    quota_store.check(conn, name, before.spec)
    return _begun(conn, before, "start", by, now_ms)


def restart(conn: Connection, name: str, by: str, now_ms: int) -> Changed:
    """Every instance ends orderly and begins anew. Problem 409 where it is stopped."""
    before = _present(conn, name)
    if before.wanted == "stop":
        raise Problem(
            status=409,
            title="Not possible now",
            detail=f"the task {name} is stopped; start it",
            extra={"state": "stopped"},
        )
    return _begun(conn, before, "restart", by, now_ms)


def delete(
    conn: Connection, name: str, by: str, now_ms: int, if_match: str | None = None
) -> Changed:
    """It is forgotten once every instance has ended."""
    before = known(conn, name)
    check_match(f"the task {name}", before.revision, if_match)
    if before.wanted == "delete":
        return Changed(task=before)
    after = replace(before, wanted="delete", next_ms=None, updated_ms=now_ms)
    _save(conn, before, after)
    return _told(conn, after, Line(task=name, state="delete", by=by), now_ms)


def _begun(conn: Connection, before: Task, state: str, by: str, now_ms: int) -> Changed:
    after = replace(
        before,
        wanted="run",
        run=before.run + 1,
        asked_ms=now_ms,
        updated_ms=now_ms,
        next_ms=next_of(before.spec, now_ms),
    )
    _save(conn, before, after)
    return _told(conn, after, Line(task=before.name, state=state, by=by), now_ms)


def _next(before: Task, spec: TaskSpec, now_ms: int) -> int | None:
    """An occurrence that is awaited stays awaited while the rule is the same."""
    if before.wanted != "run":
        return None
    same = spec.cron is not None and spec.cron == before.spec.cron
    return before.next_ms if same else next_of(spec, now_ms)


def _told(
    conn: Connection, task: Task, line: Line, now_ms: int, *, created: bool = False
) -> Changed:
    """The history, the instances that are missing, and who is to be looked at."""
    new: Sequence[Instance] = ()
    there = {each.instance for each in _instances(conn, task)}
    if task.wanted == "run" and (task.spec.cron is None or task.run > 1):
        new = [
            Instance(
                task=task.name,
                instance=number,
                since_ms=now_ms,
                revision=task.revision,
                run=task.run,
            )
            for number in range(task.spec.count)
            if number not in there
        ]
        store.add_instances(conn, new)
    store.add_lines(conn, [line], now_ms)
    numbers = sorted(there | {each.instance for each in new})
    return Changed(
        task=task,
        lines=(line,),
        look=tuple((task.name, number) for number in numbers),
        created=created,
    )


def _instances(conn: Connection, task: Task) -> list[Instance]:
    return store.instances_of(conn, [task.name]).get(task.name, [])


def _present(conn: Connection, name: str) -> Task:
    task = known(conn, name)
    if task.wanted == "delete":
        raise _deleting(task)
    return task


def _save(conn: Connection, before: Task, after: Task) -> None:
    if not store.save_task(conn, before, after):
        raise Problem(
            status=409,
            title="It was changed meanwhile",
            detail=f"somebody else changed the task {before.name} in this moment; ask again",
        )


def _deleting(task: Task) -> Problem:
    return Problem(
        status=409,
        title="The task is being deleted",
        detail=f"the task {task.name} is forgotten once everything of it has ended",
        extra={"state": "deleting"},
    )
