"""What people do with tasks: put, stop, start, restart, delete.

Each change is one transaction with a line of history that says who. It does not know HTTP. Answers are
documents: JSON-ready dictionaries, in the shapes that the docstrings give.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog
from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.events import Event, EventLog
from farshore_center.tasks import quota_store, store, views
from farshore_center.tasks.checking import Accepted
from farshore_center.tasks.lines import drafts_of
from farshore_center.tasks.occurrences import first_ms
from farshore_center.tasks.reading import known_task, task_in_full
from farshore_center.tasks.records import Instance, Line, Task, Wanted
from farshore_center.tasks.runner import Runner

log = structlog.get_logger(__name__)

Accept = Callable[[str, Any], Awaitable[Accepted]]
"""A specification as it was written, read; or Problem."""

_HARMLESS = frozenset(
    {
        *("count", "priority", "affinities", "spread", "constraint", "where", "run_s"),
        *("reads", "writes", "battery_min_percent", "group", "policy", "cron", "deadline_s"),
    }
)
"""What of a specification may change while its instances go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """``document``: ``{"name","revision","spec","digest"}``; ``changed``: false where it was so already.
    ``notes``: what its author should know, ``{"field","detail","expected"}`` each."""

    document: dict[str, Any]
    created: bool
    changed: bool
    notes: tuple[dict[str, Any], ...] = ()

    @property
    def etag(self) -> str:
        return f'"{self.document["revision"]}"'


class TaskService:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        runner: Runner,
        accept: Accept,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._events = events
        self._runner = runner
        self._accept = accept
        self._now_ms = now_ms

    async def put(self, name: str, spec_raw: Any, if_match: str | None, by: str) -> Put:
        """Makes or changes a task. Problem 422 for what is wrong with it, 412 where ``if_match`` (an
        ETag or ``*``) is not its revision, 409 while it is being deleted."""
        accepted = await self._accept(name, spec_raw)
        spec = accepted.spec

        def work(conn: Connection) -> tuple[Task, bool, bool, list[Event]]:
            before = store.load_tasks(conn, [name]).get(name)
            _check_match(name, before, if_match)
            now_ms = self._now_ms()
            if before is not None and before.wanted == "delete":
                raise _being_deleted(name)
            if before is not None and before.digest == digest_of(spec):
                return before, False, False, []
            if before is None or before.wanted == "run":  # else it is asked when it is started
                quota_store.check(conn, name, spec)
            task = _changed(before, name, spec, by, now_ms)
            if before is None:
                store.add_task(conn, task)
            elif not store.save_task(conn, before, task):
                raise _outrun(name)
            _fill(conn, task, now_ms)
            line = Line(task=name, state="created" if before is None else "changed", by=by)
            return task, before is None, True, self._noted(conn, [line], now_ms)

        task, created, changed, events = await self._database.write(work)
        self._events.announce(events)
        await self._look(task)
        return Put(
            document=task_summary(task),
            created=created,
            changed=changed,
            notes=tuple(
                {"field": each.field, "detail": each.detail, "expected": each.expected}
                for each in accepted.notes
            ),
        )

    async def delete(self, name: str, by: str, if_match: str | None = None) -> dict[str, Any]:
        """Stops it everywhere, and forgets it once it has ended. The task's document, with
        ``wanted: delete``; Problem 404."""
        return await self._want(name, "delete", by, if_match)

    async def stop(self, name: str, by: str) -> dict[str, Any]:
        """Stops every instance and keeps the task. Its document; Problem 404, 409 while it is deleted."""
        return await self._want(name, "stop", by)

    async def start(self, name: str, by: str) -> dict[str, Any]:
        """Runs a stopped task again, and a batch that is done or failed once more."""
        return await self._want(name, "run", by)

    async def restart(self, name: str, by: str) -> dict[str, Any]:
        """Ends every instance orderly and grants it anew."""
        return await self._want(name, "run", by, anew=True)

    # Changes

    async def _want(
        self, name: str, wanted: Wanted, by: str, if_match: str | None = None, *, anew: bool = False
    ) -> dict[str, Any]:
        def work(conn: Connection) -> tuple[Task, dict[str, Any], list[Event]]:
            before = known_task(conn, name)
            _check_match(name, before, if_match)
            now_ms = self._now_ms()
            if before.wanted == "delete" and wanted != "delete":
                raise _being_deleted(name)
            again = wanted == "run" and (anew or before.wanted != "run" or _over(conn, before))
            if before.wanted == wanted and not again:
                return before, task_in_full(conn, before), []
            if wanted == "run":
                quota_store.check(conn, name, before.spec)
            cron = before.spec.cron
            task = replace(
                before,
                wanted=wanted,
                run=before.run + again,
                updated_ms=now_ms,
                asked_ms=now_ms if again else before.asked_ms,
                next_ms=first_ms(cron, now_ms) if cron and wanted == "run" else None,
            )
            if not store.save_task(conn, before, task):
                raise _outrun(name)
            state = {"delete": "deleting", "stop": "stopped"}.get(wanted, "started")
            line = Line(task=name, state="restarted" if anew else state, by=by)
            lines = [line]
            if wanted == "delete" and not store.instances_of(conn, [name]):
                store.remove_task(conn, name)
                lines.append(Line(task=name, state="deleted"))
            return task, task_in_full(conn, task), self._noted(conn, lines, now_ms)

        task, document, events = await self._database.write(work)
        self._events.announce(events)
        log.info("task decided", task=name, wanted=wanted, by=by)
        await self._look(task)
        return document

    async def _look(self, task: Task) -> None:
        found = await self._database.read(lambda conn: store.instances_of(conn, [task.name]))
        self._runner.look_now(each.key for each in found.get(task.name, ()))
        if task.next_ms is not None:
            self._runner.occurs(task.name, task.next_ms)

    def _noted(self, conn: Connection, lines: list[Line], now_ms: int) -> list[Event]:
        store.add_lines(conn, lines, now_ms)
        return self._events.append(conn, drafts_of(lines, now_ms))


def digest_of(spec: TaskSpec) -> str:
    return f"sha256:{hashlib.sha256(store.write_spec(spec).encode()).hexdigest()}"


def task_summary(task: Task) -> dict[str, Any]:
    found = views.task_document(task, [])
    return {name: found[name] for name in ("name", "revision", "spec", "digest")}


def _changed(before: Task | None, name: str, spec: TaskSpec, by: str, now_ms: int) -> Task:
    """A new task, or the next revision: what runs is begun anew where that changes what it does."""
    next_ms = None if spec.cron is None else first_ms(spec.cron, now_ms)
    first = Task(
        name=name,
        revision=1,
        spec=spec,
        digest=digest_of(spec),
        run=0 if spec.cron is not None else 1,
        author=by,
        created_ms=now_ms,
        updated_ms=now_ms,
        asked_ms=now_ms,
        next_ms=next_ms,
    )
    if before is None:
        return first
    again = spec.cron is None and _differs(before.spec, spec)
    return replace(
        first,
        revision=before.revision + 1,
        wanted=before.wanted,
        run=before.run + again,
        created_ms=before.created_ms,
        asked_ms=now_ms if again else before.asked_ms,
    )


def _differs(old: TaskSpec, new: TaskSpec) -> bool:
    return any(
        getattr(old, name) != getattr(new, name)
        for name in TaskSpec.__slots__
        if name not in _HARMLESS
    )


def _fill(conn: Connection, task: Task, now_ms: int) -> None:
    """A row for each instance that is to be; those above the count are taken away by the loop."""
    there = {each.instance for each in store.instances_of(conn, [task.name]).get(task.name, ())}
    waits = task.run == 0 or task.wanted != "run"
    store.add_instances(
        conn,
        [
            Instance(
                task=task.name,
                instance=number,
                state="stopped" if waits else "pending",
                since_ms=now_ms,
                revision=task.revision,
                run=task.run,
                reason="waits for its next occurrence" if task.run == 0 else None,
            )
            for number in range(task.spec.count)
            if number not in there
        ],
    )


def _over(conn: Connection, task: Task) -> bool:
    """Whether its run is over, so that a start begins another."""
    found = store.instances_of(conn, [task.name]).get(task.name, ())
    return bool(found) and all(each.state in ("done", "failed", "stopped") for each in found)


def _check_match(name: str, task: Task | None, if_match: str | None) -> None:
    if if_match is None:
        return
    now = "none" if task is None else f'"{task.revision}"'
    if task is None or if_match not in ("*", now):
        raise Problem(
            status=412,
            title="The task was changed meanwhile",
            field="If-Match",
            detail=f"{name} is at {now}, the request was made for {if_match}",
            expected="the ETag of a new GET",
        )


def _being_deleted(name: str) -> Problem:
    return Problem(
        status=409,
        title="The task is being deleted",
        detail=f"{name} ends; when nothing of it is left, its name is free",
        field="name",
    )


def _outrun(name: str) -> Problem:
    return Problem(
        status=409,
        title="The task was changed meanwhile",
        detail=f"somebody else changed {name} at the same moment; look at it and try again",
        field="name",
    )
