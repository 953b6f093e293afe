"""Changes of layers and schemas: load, plan, refuse or persist with what every node should run.

One change at a time: what was planned is what is written. Planning runs in a thread; the
transaction only writes. It does not know HTTP.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from farshore_protocol.config.digest import digest as digest_of
from sqlalchemy import Connection

from farshore_center.config import layer_store
from farshore_center.config.address import Address
from farshore_center.config.changes import checked_schema, no_schema, planned, schema_faults
from farshore_center.config.checks import Checker
from farshore_center.config.desired import Applied, apply
from farshore_center.config.fleet import Groups
from farshore_center.config.layer_store import Revision, SchemaRevision
from farshore_center.config.plan import (
    Plan,
)
from farshore_center.config.request import (
    LayerChange,
    SchemaChange,
    Signed,
    check_match,
    no_layer,
    no_revision,
    refused,
    unknown,
)
from farshore_center.config.world import Places, read_known, the_fleet
from farshore_center.db.database import Database
from farshore_center.events import Draft, Event, EventLog

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """``changed``: whether a revision was made; the same patch again makes none."""

    revision: Revision
    changed: bool
    nodes: int = 0


async def _anybody(_change: LayerChange) -> None:
    """Until a job has a layer of its own."""


class LayerService:
    """``decided``: told after the commit which nodes are to be sent something."""

    def __init__(
        self,
        database: Database,
        events: EventLog,
        groups: Groups,
        places: Places,
        *,
        lock: asyncio.Lock,
        now_ms: Callable[[], int],
        decided: Callable[[Sequence[str]], None],
        recheck: Callable[[], None],
    ) -> None:
        self._database = database
        self._events = events
        self._groups = groups
        self._places = places
        self._lock = lock
        self._now_ms = now_ms
        self._decided = decided
        self._recheck = recheck
        self._under_way: set[asyncio.Task[Any]] = set()
        self.guard: Callable[[LayerChange], Awaitable[None]] = _anybody
        """Raises Problem for a change that belongs to somebody else: to a job, its layer."""

    # Layers

    async def put(self, change: LayerChange, by: Signed, if_match: str | None = None) -> Accepted:
        """Raises Problem: 404, 412, or 422 with what would break where."""
        return await self._finish(self._put(change, by, if_match))

    async def rollback(
        self, address: Address, rev: int, by: Signed, if_match: str | None = None
    ) -> Accepted:
        """A new revision with the patch of an earlier one."""
        self.check_exists(address)
        found = await self.revision(address, rev)
        if found.deleted:
            raise no_revision(address, rev)
        message = by.message or f"rollback to {rev}"
        change = LayerChange(address=address, patch=found.patch)
        return await self.put(change, Signed(author=by.author, message=message), if_match)

    async def _put(self, change: LayerChange, by: Signed, if_match: str | None) -> Accepted:
        address = change.address
        self.check_exists(address)
        await self.guard(change)
        async with self._lock:
            now = await self._database.read(lambda conn: layer_store.current(conn, address))
            check_match(address, 0 if now is None else now.rev, if_match)
            if now is None or now.deleted:
                if change.patch is None:
                    raise no_layer(address)
            elif change.patch is not None and digest_of(change.patch) == now.digest:
                return Accepted(revision=now, changed=False)
            plan = await self._plan(change, 0 if now is None else now.rev)
            accepted, events, applied = await self._write(change, by, now, plan)
        log.info("layer changed", layer=str(address), rev=accepted.revision.rev, by=by.author)
        self._events.announce(events)
        self._decided(applied.pending)
        return accepted

    def check_exists(self, address: Address) -> None:
        """A layer is of something that there is."""
        exists = True
        if address.kind == "node":
            exists = any(place.node == address.name for place in self._places())
        elif address.kind == "overlay":
            exists = any(each.name == address.name for each in self._groups.overlays())
        elif address.kind == "group":
            exists = address.name in self._groups.tree
        if not exists:
            raise unknown(address)

    async def _plan(self, change: LayerChange, rev: int) -> Plan:
        fleet = await the_fleet(self._database, self._groups, self._places, change.address)
        touched = fleet.touched(change.address)
        known = await self._database.read(lambda conn: read_known(conn, fleet, touched))
        checker = Checker(known.schemas)
        return await asyncio.to_thread(
            planned, fleet, touched, known.layers, change, rev + 1, checker
        )

    async def _write(
        self, change: LayerChange, by: Signed, now: Revision | None, plan: Plan
    ) -> tuple[Accepted, list[Event], Applied]:
        address, rev = change.address, 0 if now is None else now.rev

        def work(conn: Connection) -> tuple[Accepted, list[Event], Applied]:
            current = layer_store.current(conn, address)
            # A group may have been moved in between.
            check_match(address, 0 if current is None else current.rev, f'"{rev}"')
            now_ms = self._now_ms()
            revision = layer_store.add(
                conn,
                address,
                change.patch,
                author=by.author,
                message=by.message,
                now_ms=now_ms,
            )
            applied = apply(conn, plan, now_ms)
            data = {
                "layer": str(address),
                "rev": revision.rev,
                "deleted": revision.deleted,
                "author": by.author,
                "message": by.message,
                "nodes": len(applied.pending),
            }
            node = address.name if address.kind == "node" else None
            drafts = [Draft(kind="config.changed", node=node, data=data, at_ms=now_ms)]
            events = self._events.append(conn, [*drafts, *applied.drafts])
            accepted = Accepted(revision=revision, changed=True, nodes=len(applied.pending))
            return accepted, events, applied

        return await self._database.write(work)

    async def current(self, address: Address) -> Revision:
        self.check_exists(address)
        found = await self._database.read(lambda conn: layer_store.current(conn, address))
        if found is None or found.deleted:
            raise no_layer(address)
        return found

    async def revision(self, address: Address, rev: int) -> Revision:
        found = await self._database.read(lambda conn: layer_store.revision(conn, address, rev))
        if found is None:
            raise no_revision(address, rev)
        return found

    async def history(self, address: Address, before: int | None, limit: int) -> Sequence[Revision]:
        return await self._database.read(
            lambda conn: layer_store.history(conn, address, before, limit)
        )

    # Schemas

    async def schemas(self) -> dict[str, SchemaRevision]:
        return await self._database.read(layer_store.stored_schemas)

    async def put_schema(
        self, change: SchemaChange, by: Signed, if_match: str | None = None
    ) -> SchemaRevision:
        """Raises Problem for a schema that is not taken, or that a node's configuration violates."""
        checked_schema(change)
        return await self._finish(self._put_schema(change, by, if_match))

    async def _put_schema(
        self, change: SchemaChange, by: Signed, if_match: str | None
    ) -> SchemaRevision:
        document = change.document
        async with self._lock:
            now = await self._database.read(lambda conn: layer_store.newest_schema(conn, document))
            check_match(document, 0 if now is None else now.rev, if_match)
            if change.definition is None and (now is None or now.definition is None):
                raise no_schema(document)
            if now is not None and now.definition == change.definition:
                return now
            fleet = await the_fleet(self._database, self._groups, self._places)
            known = await self._database.read(lambda conn: read_known(conn, fleet, fleet.places))
            found = await asyncio.to_thread(
                schema_faults, fleet, known.layers, known.schemas, change
            )
            if found:
                raise refused(found)
            revised = SchemaRevision(
                document=document,
                rev=1 if now is None else now.rev + 1,
                definition=change.definition,
                author=by.author,
                message=by.message,
                at_ms=self._now_ms(),
            )
            data = {"document": document, "rev": revised.rev, "author": by.author}

            def work(conn: Connection) -> list[Event]:
                layer_store.add_schema(conn, revised)
                return self._events.append(conn, [Draft(kind="config.schema", data=data)])

            events = await self._database.write(work)
        self._events.announce(events)
        self._recheck()  # a node that was refused may be valid now
        return revised

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Whoever asked may go away; what was committed must still be announced and sent."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)
