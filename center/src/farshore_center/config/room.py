"""The configuration room: its parts put together, and what the rest of the center uses of it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from farshore_protocol.config.messages import ConfigReport
from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.config import layer_store, node_store
from farshore_center.config.address import Address
from farshore_center.config.changes import checked_schema, schema_faults, with_change
from farshore_center.config.checks import Checker
from farshore_center.config.delivery import Delivery
from farshore_center.config.engine import NodeConfig, resolve
from farshore_center.config.fleet import Groups, Place
from farshore_center.config.plan import Stacks, body, faults
from farshore_center.config.recompute import Arrival, Recompute
from farshore_center.config.reports import record_many
from farshore_center.config.request import LayerChange, SchemaChange, refused
from farshore_center.config.rollout import Rollouts
from farshore_center.config.service import LayerService
from farshore_center.config.settings import ConfigSettings
from farshore_center.config.views import (
    Explanation,
    Preview,
    node_config_document,
    previewed,
)
from farshore_center.config.world import Places, read_known, the_fleet
from farshore_center.db.database import Database
from farshore_center.events import Draft, Event, EventLog
from farshore_center.sending import Downlink


class ConfigRoom:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        downlink: Downlink,
        groups: Groups,
        places: Places,
        online: Callable[[], AbstractSet[str]],
        *,
        now_ms: Callable[[], int],
        settings: ConfigSettings | None = None,
    ) -> None:
        settings = settings or ConfigSettings()
        self._database = database
        self._events = events
        self._groups = groups
        self._places = places
        self._now_ms = now_ms
        self._lock = asyncio.Lock()
        self._resend: set[str] = set()
        self._connections: dict[str, object] = {}
        self._delivery = Delivery(database, downlink, online, now_ms=now_ms, settings=settings)
        self._recompute = Recompute(
            database,
            events,
            groups,
            places,
            lock=self._lock,
            now_ms=now_ms,
            decided=self._delivery.want,
            born=self._born,
            settings=settings,
        )
        self.layers = LayerService(
            database,
            events,
            groups,
            places,
            lock=self._lock,
            now_ms=now_ms,
            decided=self._delivery.want,
            recheck=lambda: self._recompute.changed(None),
        )
        self.rollouts = Rollouts(
            database, groups, places, lock=self._lock, decided=self._delivery.want
        )
        self._reports = 0

    # Life

    async def run(self) -> None:
        """Recomputes until it is cancelled."""
        await self._recompute.run()

    async def deliver(self) -> None:
        """Sends until it is cancelled; what was pending at the start included."""
        self._delivery.want(await self._database.read(node_store.waiting))
        await self._delivery.run()

    async def step(self) -> None:
        """One round of each, for a test that plays the loops itself."""
        await self._recompute.round()
        await self._delivery.round()

    def wake(self) -> None:
        self._delivery.wake()

    # What happens elsewhere in the center

    def changed(self, nodes: Iterable[str] | None) -> None:
        """Places, labels, facts, overlays or the tree changed; None: maybe for every node."""
        self._recompute.changed(nodes)

    def arrived(
        self, node: str, running_rev: int | None, running: str | None, connection: object = None
    ) -> None:
        """A node has said its birth, on this connection; None is none that was seen before."""
        if connection is None or self._connections.get(node) != connection:
            # What was sent before went to a connection that is gone.
            self._delivery.forget(node)
        self._connections[node] = connection
        self._recompute.arrived(node, Arrival(rev=running_rev, digest=running))

    def _born(self, node: str, send: bool) -> None:
        if send and not self._delivery.sent_to(node):
            self._delivery.want([node], forced=True)
        else:
            self._delivery.watch(node)

    def record_many(
        self, conn: Connection, pairs: Sequence[tuple[str, ConfigReport]]
    ) -> list[Draft]:
        """Accepted reports, inside the transaction; ``reported`` after its commit."""
        recorded = record_many(conn, pairs, self._now_ms())
        self._reports += len(pairs)
        # A thread of the database is here; the set is only looked into after the commit.
        self._resend |= recorded.send
        return recorded.drafts

    def reported(self) -> None:
        """Reports were committed."""
        while self._resend:
            self._delivery.again(self._resend.pop())

    def forget(self, conn: Connection, node: str) -> None:
        """The node was removed, in this transaction."""
        self._connections.pop(node, None)
        node_store.remove(conn, node)
        layer_store.remove(conn, Address("node", node))

    def has_overlay_layer(self, connection: Connection, name: str) -> bool:
        """Whether it can't be deleted; the groups' room asks in its transaction."""
        return layer_store.has_overlay_layer(connection, name)

    def has_layer(self, connection: Connection, path: str) -> bool:
        """Whether the group has a layer, so that it can't be deleted."""
        return layer_store.has_layer(connection, path)

    def rename_group(self, connection: Connection, old: str, new: str) -> None:
        """A subtree moved, in this transaction: its layers go with it."""
        layer_store.rename_group(connection, old, new)

    def stats(self) -> dict[str, int]:
        """Counts since the start; ``waiting`` is how many nodes will be looked at."""
        counts = self._delivery.counts
        return {
            "sent": counts.sent,
            "sent_again": counts.sent_again,
            "send_failures": counts.send_failures,
            "reports": self._reports,
            "rounds": self._recompute.rounds,
            "waiting": self._delivery.waiting,
        }

    # Questions

    async def documents(self, nodes: Sequence[str]) -> dict[str, dict[str, Any]]:
        """``node["config"]`` of the API."""
        rows = await self._database.read(lambda conn: node_store.load(conn, nodes))
        return {node: node_config_document(rows.get(node)) for node in nodes}

    async def explain(self, node: str) -> Explanation:
        """What a node should run, and where each value comes from, as of now."""
        place = self._place(node)
        fleet = await the_fleet(self._database, self._groups, self._places)

        def work(conn: Connection) -> Explanation:
            known = read_known(conn, fleet, [place])
            row = node_store.load(conn, [node]).get(node)
            effective = Stacks(fleet, known.layers).of(place)
            authors = [
                each
                for address in fleet.addresses(place)
                if address in known.layers
                and (each := layer_store.current(conn, address)) is not None
            ]
            return Explanation(place=place, effective=effective, row=row, revisions=tuple(authors))

        return await self._database.read(work)

    def _place(self, node: str) -> Place:
        for place in self._places():
            if place.node == node:
                return place
        raise Problem(
            status=404, title="No such node", detail=f"there is no node {node[:64]!a}", field="node"
        )

    async def preview(self, change: LayerChange | SchemaChange) -> Preview:
        """What the change would do; nothing is written."""
        if isinstance(change, SchemaChange):
            checked_schema(change)
            fleet = await the_fleet(self._database, self._groups, self._places)
            known = await self._database.read(lambda conn: read_known(conn, fleet, fleet.places))
            found = await asyncio.to_thread(
                schema_faults, fleet, known.layers, known.schemas, change
            )
            return Preview(nodes=len(fleet.places), faults=tuple(found))
        self.layers.check_exists(change.address)
        address = change.address
        fleet = await the_fleet(self._database, self._groups, self._places, address)
        touched = fleet.touched(address)
        known = await self._database.read(lambda conn: read_known(conn, fleet, touched))
        after = with_change(known.layers, change, 0)  # no layer has this revision
        return await asyncio.to_thread(
            previewed, fleet, touched, known.layers, after, Checker(known.schemas)
        )

    # A person's decision

    async def resolve(self, node: str) -> NodeConfig:
        """The center is right: its counter goes beyond the node's, and the node is sent again."""
        place = self._place(node)
        fleet = await the_fleet(self._database, self._groups, self._places)
        async with self._lock:
            known = await self._database.read(lambda conn: read_known(conn, fleet, [place]))
            effective = Stacks(fleet, known.layers).of(place)
            violations = Checker(known.schemas).violations(effective)
            if violations:
                raise refused(faults([(place, (), violations)]))

            def work(conn: Connection) -> tuple[NodeConfig, list[Event]]:
                row = node_store.load(conn, [node]).get(node)
                if row is None or row.state != "ahead":
                    raise _not_ahead(node, "none" if row is None else row.state)
                now_ms = self._now_ms()
                row = replace(
                    resolve(row, now_ms),
                    digest=effective.digest,
                    group=place.group,
                    labels=dict(place.labels),
                )
                node_store.add_bodies(conn, [body(effective)])
                node_store.save(conn, [row])
                draft = Draft(kind="config.resolved", node=node, data={"rev": row.rev})
                return row, self._events.append(conn, [draft])

            row, events = await self._database.write(work)
        self._events.announce(events)
        self._delivery.want([node])
        return row


def _not_ahead(node: str, state: str) -> Problem:
    return Problem(
        status=409,
        title="Nothing to resolve",
        detail=f"the configuration of {node} is {state}; only one that is ahead waits for a person",
    )
