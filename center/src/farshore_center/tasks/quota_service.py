"""Quotas for people: put, look, delete. Whether a task may be put is asked of ``quota_store.check``."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.commands.request import NOT_VALID, near_verbs
from farshore_center.config.request import check_match
from farshore_center.db.database import Database
from farshore_center.events import Event, EventLog
from farshore_center.events.model import Draft
from farshore_center.groups.tree import GroupTree
from farshore_center.tasks import quota_store
from farshore_center.tasks.quotas import RESOURCES, SHOWN, Quota, Resource, quota_document

FLEET = "all"
"""The whole fleet, as an address names it; no group has this name."""

MOST = 2**53

_NAMES: Mapping[str, Resource] = {SHOWN[resource][0]: resource for resource in RESOURCES}


class QuotaService:
    def __init__(
        self, database: Database, events: EventLog, tree: GroupTree, *, now_ms: Callable[[], int]
    ) -> None:
        self._database = database
        self._events = events
        self._tree = tree
        self._now_ms = now_ms

    async def page(self) -> dict[str, Any]:
        """``{"items": [{"group","allowed","used","revision","author"} …], "next": None}``, by group."""

        def read(conn: Connection) -> list[dict[str, Any]]:
            found = quota_store.load(conn)
            taken = quota_store.uses(conn) if found else []
            return [quota_document(each, taken) for each in found]

        return {"items": await self._database.read(read), "next": None}

    async def get(self, path: str) -> dict[str, Any]:
        """Problem 404."""
        group = _group(path)

        def read(conn: Connection) -> dict[str, Any]:
            return quota_document(_quota(conn, group), quota_store.uses(conn))

        return await self._database.read(read)

    async def put(
        self, path: str, body: Mapping[str, Any], by: str, if_match: str | None = None
    ) -> tuple[dict[str, Any], bool]:
        """The quota of the group's subtree, and whether it is new. What is reserved already stays, also
        beyond it."""
        group = _group(path)
        if group not in self._tree:
            raise Problem(
                status=404,
                title="No such group",
                detail=f"there is no group {group[:200]!a}",
                field="group",
                expected="a group of the tree, or all for the whole fleet",
            )
        limits, now_ms = read_limits(body), self._now_ms()

        def write(conn: Connection) -> tuple[dict[str, Any], bool, list[Event]]:
            before = next((each for each in quota_store.load(conn) if each.group == group), None)
            check_match(f"the quota of {path}", 0 if before is None else before.revision, if_match)
            quota = Quota(
                group=group,
                **{name: limits.get(name) for name in RESOURCES},
                revision=1 if before is None else before.revision + 1,
                updated_ms=now_ms,
                author=by,
            )
            quota_store.save(conn, quota)
            document = quota_document(quota, quota_store.uses(conn))
            data = {"group": group, "allowed": document["allowed"], "by": by}
            events = self._events.append(conn, [Draft(kind="quota.changed", data=data)])
            return document, before is None, events

        document, new, events = await self._database.write(write)
        self._events.announce(events)
        return document, new

    async def delete(self, path: str, by: str, if_match: str | None = None) -> None:
        """Problem 404."""
        group = _group(path)

        def write(conn: Connection) -> list[Event]:
            check_match(f"the quota of {path}", _quota(conn, group).revision, if_match)
            quota_store.remove(conn, group)
            data = {"group": group, "by": by}
            return self._events.append(conn, [Draft(kind="quota.deleted", data=data)])

        self._events.announce(await self._database.write(write))


def read_limits(body: Mapping[str, Any]) -> dict[Resource, int]:
    """``{"cpu_cores": 8, "gpus": 0.5, "memory_bytes": …}`` in thousandths and bytes; null: no limit."""
    limits: dict[Resource, int] = {}
    for name, value in body.items():
        resource = _NAMES.get(name)
        if resource is None:
            raise Problem(
                status=422,
                title=NOT_VALID,
                field=name[:100],
                detail=f"there is no resource {name[:100]!a}{near_verbs(name, _NAMES)}",
                expected=f"of {', '.join(_NAMES)}",
            )
        if value is None:
            continue
        scale = SHOWN[resource][1]
        kinds: tuple[type, ...] = (int, float) if scale > 1 else (int,)
        good = isinstance(value, kinds) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or not 0 <= value <= MOST / scale:
            raise Problem(
                status=422,
                title=NOT_VALID,
                field=name,
                detail=f"got {str(value)[:60]!a}",
                expected="a number from 0, or null for no limit"
                if scale > 1
                else "a whole number from 0, or null for no limit",
            )
        limits[resource] = round(value * scale)
    if not limits:
        raise Problem(
            status=422,
            title=NOT_VALID,
            field="quota",
            detail="it limits nothing",
            expected=f"a limit of one of {', '.join(_NAMES)}",
        )
    return limits


def _group(path: str) -> str:
    return "" if path == FLEET else path


def _quota(conn: Connection, group: str) -> Quota:
    found = next((each for each in quota_store.load(conn) if each.group == group), None)
    if found is None:
        raise Problem(
            status=404,
            title="No such quota",
            detail=f"{group[:200] or 'the whole fleet'} has no quota",
            field="group",
        )
    return found
