"""Nodes that a person empties for maintenance, and gives back. It does not know HTTP."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.events import Event, EventLog
from farshore_center.nodes.registry import Registry
from farshore_center.tasks import store, views
from farshore_center.tasks.lines import drafts_of
from farshore_center.tasks.records import Line, NodeTasks
from farshore_center.tasks.runner import Runner
from farshore_center.tasks.sites import Drain


class Drains:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        registry: Registry,
        runner: Runner,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._events = events
        self._registry = registry
        self._runner = runner
        self._now_ms = now_ms

    async def drain(
        self, node: str, deadline_s: float | None, reason: str, by: str
    ) -> dict[str, Any]:
        """Nothing new comes to the node, and what it has moves, services at once as budgets permit, batch
        work when it has ended or at the deadline. ``{"node","drained","since","deadline","reason","by",
        "instances","items"}``; ``items``: what is still there, ``{"task","instance","state","reason"}`` each.
        Problem 404."""

        def change(row: NodeTasks, now_ms: int) -> NodeTasks:
            until_ms = None if deadline_s is None else now_ms + round(deadline_s * 1000)
            return replace(
                row,
                drained=True,
                drain_ms=row.drain_ms or now_ms,
                drain_until_ms=until_ms,
                drain_reason=reason,
                drain_by=by,
            )

        return await self._drain(node, change, by, "drained", reason)

    async def undrain(self, node: str, by: str) -> dict[str, Any]:
        """The node takes work again; the same document."""

        def change(row: NodeTasks, _now_ms: int) -> NodeTasks:
            return NodeTasks(node=node, rev=row.rev, heard_rev=row.heard_rev)

        return await self._drain(node, change, by, "undrained", None)

    async def get(self, node: str) -> dict[str, Any]:
        """The same document, as it is now."""
        self._check(node)

        def read(conn: Connection) -> dict[str, Any]:
            row = store.load_nodes(conn, [node]).get(node) or NodeTasks(node=node)
            return _document(conn, row)

        return await self._database.read(read)

    def _check(self, node: str) -> None:
        if self._registry.get(node) is None:
            raise Problem(
                status=404,
                title="No such node",
                detail=f"there is no node {node[:64]!a}",
                field="node",
            )

    async def _drain(
        self,
        node: str,
        change: Callable[[NodeTasks, int], NodeTasks],
        by: str,
        state: str,
        reason: str | None,
    ) -> dict[str, Any]:
        self._check(node)

        def work(conn: Connection) -> tuple[NodeTasks, dict[str, Any], list[Event]]:
            now_ms = self._now_ms()
            row = store.load_nodes(conn, [node]).get(node) or NodeTasks(node=node)
            after = change(row, now_ms)
            store.save_nodes(conn, [after])
            drafts = drafts_of(
                [Line(task="", node=node, state=state, reason=reason, by=by)], now_ms
            )
            drafts = [
                replace(each, kind=f"node.{state}", data={"by": by, "reason": reason or ""})
                for each in drafts
            ]
            return after, _document(conn, after), self._events.append(conn, drafts)

        row, document, events = await self._database.write(work)
        self._events.announce(events)
        self._runner.drained(node, Drain(until_ms=row.drain_until_ms) if row.drained else None)
        return document


def _document(conn: Connection, row: NodeTasks) -> dict[str, Any]:
    held = store.grants_on(conn, [row.node]).get(row.node, [])
    instances = store.load_instances(conn, [grant.of for grant in held])
    return views.drain_document(row, [(instances.get(each.of), each) for each in held])
