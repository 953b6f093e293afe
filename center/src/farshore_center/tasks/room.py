"""The room of tasks: its parts put together, and what the rest of the center uses of it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from random import Random
from typing import Any

import structlog
from farshore_protocol.link import Message
from farshore_protocol.tasks import LeaseRequest
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.events import Draft, EventLog
from farshore_center.groups.selection import Selection
from farshore_center.groups.tree import GroupTree
from farshore_center.nodes.registry import Registry
from farshore_center.placement import POLICIES
from farshore_center.tasks import silos, store
from farshore_center.tasks.books import Books
from farshore_center.tasks.checking import Accepted, Known, accepted
from farshore_center.tasks.delivery import Delivery, Downlink
from farshore_center.tasks.demands import demand_of
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.listening import Listening
from farshore_center.tasks.pool import largest_of
from farshore_center.tasks.pool_reader import Snapshot
from farshore_center.tasks.records import Key
from farshore_center.tasks.reports import Word, record_many
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
    ) -> None:
        settings = settings or TaskSettings()
        self._database = database
        self._downlink = downlink
        self._registry = registry
        self._selection = selection
        self._tree = tree
        self._now_ms = now_ms
        self._look: set[Key] = set()
        self._send: set[str] = set()
        self._books = Books(database, registry, selection.members, rng=rng)
        self.leases = Leases(now_s=now_s)
        self._listening = Listening(registry, now_s=now_s, settle_s=settings.settle_s)
        self._delivery = Delivery(
            database, downlink, registry.online, now_s=now_s, settings=settings
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
            settings=settings,
        )
        self.service = TaskService(
            database,
            events,
            registry,
            self._books,
            self.runner,
            self._accept,
            now_ms=now_ms,
        )

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
        """Any message of a node."""
        if self._listening.awaits:
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

    def forget(self, conn: Connection, node: str) -> None:
        """The node was removed, in this transaction."""
        store.remove_node(conn, node)
        self._look |= {grant.of for grant in store.grants_on(conn, [node]).get(node, [])}

    async def asked(self, node: str, request: LeaseRequest) -> None:
        """A node asks for its leases; answered at once."""
        message: Message = self.leases.answer(node, request)
        await self._downlink.send(message)

    def record_many(self, conn: Connection, words: Sequence[Word]) -> list[Draft]:
        """Accepted reports and events, inside the transaction; ``reported`` after its commit."""
        recorded = record_many(conn, words, self._now_ms(), kind_of=self._books.kind_of)
        # A thread of the database is here; the sets are only looked into after the commit.
        self._look |= recorded.look
        self._send |= recorded.nodes
        counts = self.runner.counts
        counts.results += recorded.accepted
        counts.results_refused += recorded.refused
        counts.strays += recorded.strays
        return recorded.drafts

    def reported(self) -> None:
        """They were committed."""
        if self._look:
            keys, self._look = self._look, set()
            self.runner.look_now(sorted(keys))
        if self._send:
            nodes, self._send = self._send, set()
            self._delivery.want(nodes)

    def stats(self) -> dict[str, int]:
        """Counts since the start; ``waiting`` is how many instances no node takes now."""
        return {
            **asdict(self.runner.counts),
            **asdict(self._delivery.counts),
            "leases_answered": self.leases.answered,
            "leases_refused": self.leases.refused,
            "waiting": self.runner.waiting,
        }

    # For people

    async def _accept(self, name: str, raw: Any) -> Accepted:
        await self._books.refresh()
        entries = self._registry.all()
        drivers: dict[str, int] = {}
        for entry in entries:
            for driver in entry.capabilities.get("drivers") or ():
                drivers[driver] = drivers.get(driver, 0) + 1
        known = Known(
            read=self._selection.read,
            groups=frozenset(self._tree.paths()),
            nodes=frozenset(entry.name for entry in entries),
            policies=tuple(POLICIES),
            drivers=drivers,
            largest=largest_of(map(self._books.pool.node, self._books.nodes())),
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
