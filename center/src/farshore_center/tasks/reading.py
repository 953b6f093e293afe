"""What people see of tasks: their state, the last decision on each instance, their history.

It does not know HTTP. Answers are documents: JSON-ready dictionaries, in the shapes that the docstrings give.
"""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from farshore_center.api.cursors import read_cursor, write_cursor
from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.tasks import store, views
from farshore_center.tasks.books import Books, load_runs
from farshore_center.tasks.records import Granted, Instance, Task


class TaskReader:
    def __init__(self, database: Database, books: Books, *, now_ms: Callable[[], int]) -> None:
        self._database = database
        self._books = books
        self._now_ms = now_ms

    async def page(self, limit: int = 50, cursor: str | None = None) -> dict[str, Any]:
        """``{"items": [task without instances …], "next": cursor or None}``, by name."""
        after = None if cursor is None else read_cursor(cursor)[1]

        def read(conn: Connection) -> tuple[list[Task], dict[str, Any]]:
            found = store.page_of_tasks(conn, limit + 1, after)
            return found, _with_grants(conn, [task.name for task in found])

        found, instances = await self._database.read(read)
        items = [_document(task, instances.get(task.name, [])) for task in found[:limit]]
        more = found[limit - 1].name if len(found) > limit else None
        return {"items": items, "next": None if more is None else write_cursor(0, more)}

    async def get(self, name: str) -> dict[str, Any]:
        """As ``task_in_full`` has it. Problem 404."""

        def read(conn: Connection) -> dict[str, Any]:
            return task_in_full(conn, known_task(conn, name))

        return await self._database.read(read)

    async def explain(self, name: str, instance: int | None = None) -> dict[str, Any]:
        """``{"instances":[{"instance","decided_at","decision","node","policy","scores","rejected",
        "candidates","estimate"}]}``; Problem 404."""

        def read(conn: Connection) -> tuple[Task, list[tuple[Instance, Granted | None]], Any]:
            task = known_task(conn, name)
            found = _with_grants(conn, [name]).get(name, [])
            return task, found, load_runs(conn, [name]).get(name, {})

        task, found, runs = await self._database.read(read)
        wanted = [each for each in found if instance in (None, each[0].instance)]
        if instance is not None and not wanted:
            raise Problem(
                status=404,
                title="No such instance",
                detail=f"{name} has the instances 0 to {len(found) - 1}",
                field="instance",
            )
        await self._books.refresh()
        await self._books.prepare([task.spec])
        documents = []
        for each, grant in wanted:
            document = views.explanation(each, grant)
            if document["candidates"] is None:
                document["candidates"] = self._books.verdicts(task, each, self._now_ms(), runs)
                document["candidates_as_of"] = "now"
            documents.append(document)
        return {"name": name, "instances": documents}

    async def history(
        self, name: str, limit: int = 200, instance: int | None = None
    ) -> dict[str, Any]:
        """``{"items":[{"at","instance","epoch","node","state","reason","by"}]}``, the newest last;
        also of a task that was deleted. Problem 404."""

        def read(conn: Connection) -> list[Any]:
            found = store.history(conn, name, limit, instance)
            if not found:
                known_task(conn, name)
            return found

        found = await self._database.read(read)
        return {"items": [views.line_document(row) for row in found]}


def task_in_full(conn: Connection, task: Task) -> dict[str, Any]:
    """``{"name","revision","spec","digest","wanted","state","created","updated","next","instances",
    "summary","behind"}``; ``state``: ``running``, ``pending``, ``degraded``, ``done``, ``failed``,
    ``stopped`` or ``deleting``; each of ``instances``: ``{"instance","attempt","epoch","node","state",
    "since","healthy","restarts","exit_code","reason","result","pending_reason","cpus","gpus"}``."""
    instances = _with_grants(conn, [task.name]).get(task.name, [])
    document = _document(task, instances)
    document["instances"] = [views.instance_document(each, grant) for each, grant in instances]
    return document


def _document(task: Task, instances: Sequence[tuple[Instance, Granted | None]]) -> dict[str, Any]:
    """``behind``: how many of its instances are still as they were before the last change or restart."""
    behind = sum(each.run < task.run for each, _ in instances if task.wants(each.instance))
    return {**views.task_document(task, instances), "behind": behind}


def _with_grants(
    conn: Connection, names: list[str]
) -> dict[str, list[tuple[Instance, Granted | None]]]:
    """The instances with their current grants, by task."""
    found = store.instances_of(conn, names)
    keys = [(*each.key, each.epoch) for of in found.values() for each in of if each.epoch]
    grants = store.load_grants(conn, keys)
    return {
        name: [(each, grants.get((*each.key, each.epoch))) for each in of]
        for name, of in found.items()
    }


def known_task(conn: Connection, name: str) -> Task:
    task = store.load_tasks(conn, [name]).get(name)
    if task is None:
        raise Problem(
            status=404, title="No such task", detail=f"there is no task {name[:64]!a}", field="name"
        )
    return task
