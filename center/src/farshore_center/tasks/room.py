"""The room of tasks: its parts put together, and what the rest of the center uses of it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from random import Random
from typing import Any

import structlog
from farshore_protocol.link import Message
from farshore_protocol.tasks import LeaseRequest, TaskEvent
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.events import Draft, EventLog
from farshore_center.groups.selection import Selection
from farshore_center.groups.tree import GroupTree
from farshore_center.nodes.registry import Registry
from farshore_center.placement import POLICIES
from farshore_center.sending import Downlink
from farshore_center.tasks import estimates, silos, store
from farshore_center.tasks.books import Books, Charges, on_mains
from farshore_center.tasks.checking import Accepted, Known, accepted
from farshore_center.tasks.delivery import Delivery
from farshore_center.tasks.demands import demand_of
from farshore_center.tasks.draining import Drains
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.listening import Listening
from farshore_center.tasks.pool import largest_of
from farshore_center.tasks.pool_reader import Snapshot
from farshore_center.tasks.reading import TaskReader
from farshore_center.tasks.records import Key
from farshore_center.tasks.reports import LinkWord, Word, record_many
from farshore_center.tasks.runner import Runner
from farshore_center.tasks.service import TaskService
from farshore_center.tasks.settings import TaskSettings

log = structlog.get_logger(__name__)


class TaskRoom:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        downlink: Downlink,
        registry: Registry,
        selection: Selection,
        tree: GroupTree,
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        held: Callable[[], bool],
        rng: Random,
        settings: TaskSettings | None = None,
        charges: Charges = on_mains,
    ) -> None:
        self.settings = settings = settings or TaskSettings()
        self._database = database
        self._downlink = downlink
        self._registry = registry
        self._selection = selection
        self._tree = tree
        self._now_ms = now_ms
        self._look: set[Key] = set()
        self._send: set[str] = set()
        self._rejections: list[tuple[str, TaskEvent]] = []
        self._well: set[str] = set()
        self._links: set[str] = set()
        self._books = Books(
            database, registry, selection.members, rng=rng, charges=charges, now_s=now_s
        )
        self.leases = Leases(now_s=now_s)
        self._listening = Listening(registry, now_s=now_s, settle_s=settings.settle_s)
        self._delivery = Delivery(
            database,
            downlink,
            registry.online,
            now_ms=now_ms,
            now_s=now_s,
            settings=settings,
        )
        self.runner = Runner(
            database,
            events,
            self._books,
            self._listening,
            self.leases,
            self._delivery,
            now_ms=now_ms,
            now_s=now_s,
            held=held,
            rng=rng,
            settings=settings,
        )
        self.service = TaskService(
            database,
            events,
            self.runner,
            self._accept,
            now_ms=now_ms,
        )
        self.reader = TaskReader(database, self._books, now_ms=now_ms)
        self.drains = Drains(database, events, registry, self.runner, now_ms=now_ms)

    # Life

    async def start(self) -> None:
        """Before any node is heard."""
        await self.runner.start()

    async def run(self) -> None:
        """Decides and sends until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.runner.run(), name="decisions on tasks")
            group.create_task(self._delivery.run(), name="delivery of tasks")

    async def step(self) -> None:
        """One round of each, for a test that plays the loops itself."""
        await self.runner.round()
        await self._delivery.round()

    def wake(self) -> None:
        self.runner.wake()
        self._delivery.wake()

    # What happens elsewhere in the center

    def heard(self, node: str) -> None:
        """Any message of a node but one of presence."""
        for silent in sorted(self._listening.heard(node)):
            self.runner.look_at_node(silent)

    def stood(self, node: str, online: bool, told: bool) -> None:
        """Its presence changed; ``told``: by its own word or its will."""
        self._listening.stood(node, online, told=told)
        self.runner.look_at_node(node)

    def arrived(self, node: str, rev: int | None) -> None:
        """A node has said its birth, with the document of tasks that it has."""
        self._books.changed([node])
        self._delivery.arrived(node, rev or 0)
        self.runner.look_at_node(node)

    def changed(self, nodes: Iterable[str] | None) -> None:
        """Places, labels, facts, overlays or the tree changed; None: maybe for every node."""
        self._books.changed(nodes)
        self.runner.freed()

    def is_drained(self, node: str) -> bool:
        """Whether it takes no new tasks because a person wants it so."""
        return self.runner.is_drained(node)

    def forget(self, conn: Connection, node: str) -> None:
        """The node was removed, in this transaction; ``forgotten`` after its commit."""
        store.remove_node(conn, node)
        self._look |= {grant.of for grant in store.grants_on(conn, [node]).get(node, [])}

    def forgotten(self, node: str) -> None:
        """What it had runs elsewhere, as its contract says; a new node of this name begins with nothing."""
        self.runner.forget(node)
        self.reported()

    async def asked(self, node: str, request: LeaseRequest) -> None:
        """A node asks for its leases; answered at once."""
        message: Message = self.leases.answer(node, request)
        await self._downlink.send(message)

    def record_many(self, conn: Connection, words: Sequence[Word]) -> list[Draft]:
        """Accepted reports and events, inside the transaction; ``reported`` after its commit."""
        recorded = record_many(
            conn, words, self._now_ms(), kinds_of=self._books.kinds_of, boot_of=self._boot_of
        )
        # A thread of the database is here; the sets are only looked into after the commit.
        self._look |= recorded.look
        self._send |= recorded.nodes
        self._rejections += recorded.rejections
        self._well |= recorded.well
        counts = self.runner.counts
        counts.results += recorded.accepted
        counts.results_refused += recorded.refused
        counts.strays += recorded.strays
        return recorded.drafts

    def _boot_of(self, node: str) -> str | None:
        entry = self._registry.get(node)
        return None if entry is None else entry.standing.boot

    def record_links(self, conn: Connection, words: Sequence[LinkWord]) -> None:
        """What nodes have measured of their links, inside the transaction."""
        for node, word, at_ms in words:
            estimates.note_link(conn, node, word, at_ms)
            self._links.add(node)

    def reported(self) -> None:
        """They were committed."""
        rejections, self._rejections = self._rejections, []
        for node, word in rejections:
            self.runner.rejected(node, word.code, word.reason or "")
        well, self._well = self._well, set()
        for node in well:
            self.runner.well(node)
        if self._links:
            nodes, self._links = self._links, set()
            self._books.changed(nodes)
        if self._look:
            keys, self._look = self._look, set()
            self.runner.look_now(sorted(keys))
        if self._send:
            nodes, self._send = self._send, set()
            self._delivery.want(nodes)

    def stats(self) -> dict[str, int]:
        """Counts since the start; ``waiting`` and ``unheard`` are of now: instances that no node takes,
        and nodes that will be looked at because they have not said that they have their document."""
        return {
            **asdict(self.runner.counts),
            **asdict(self._delivery.counts),
            "leases_answered": self.leases.answered,
            "leases_refused": self.leases.refused,
            "waiting": self.runner.waiting,
            "unheard": self._delivery.waiting,
        }

    # For people

    async def _accept(self, name: str, raw: Any) -> Accepted:
        await self._books.refresh()
        entries = self._registry.all()
        drivers: dict[str, int] = {}
        for entry in entries:
            for driver in entry.capabilities.get("drivers") or ():
                drivers[driver] = drivers.get(driver, 0) + 1
        nodes = [self._books.pool.node(name) for name in self._books.nodes()]
        known = Known(
            read=self._selection.read,
            groups=frozenset(self._tree.paths()),
            nodes=frozenset(entry.name for entry in entries),
            policies=tuple(POLICIES),
            drivers=drivers,
            largest=largest_of(nodes),
            devices=frozenset(device for node in nodes for device in node.devices),
            gpu_models=frozenset(model for node in nodes for model in node.gpus),
        )
        return accepted(name, raw, known, self._now_ms())

    async def snapshot(self) -> Snapshot:
        """The pool as it is booked now, and all work that is wanted."""
        await self._books.refresh()

        def read(conn: Connection) -> list[tuple[Key, Any]]:
            keys = store.unsettled(conn)
            tasks = store.load_tasks(conn, {task for task, _ in keys})
            return [(key, tasks[key[0]].spec) for key in keys if key[0] in tasks]

        wanted = await self._database.read(read)
        await self._books.prepare(spec for _, spec in wanted)
        pool = self._books.pool
        nodes = self._books.nodes()
        return Snapshot(
            nodes=[pool.node(name) for name in nodes],
            held={name: pool.on(name) for name in nodes},
            work=[
                silos.Work(
                    id=f"{key[0]}/{key[1]}",
                    group=spec.group,
                    node=self._books.where(key),
                    demand=demand_of(spec, members=self._books.members),
                )
                for key, spec in wanted
            ],
            online=self._registry.online(),
            drained=frozenset(name for name in nodes if self.runner.is_drained(name)),
        )
