"""The node's supervisor: keeps what it was given running, with or without a center.

A document is durable before anything of it is done. What ran before this agent is taken up; what runs
and belongs to nobody is ended. The agent's own end ends nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from farshore_protocol.link import Link

from farshore_edge.database import Database, TaskChange
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox import Outbox
from farshore_edge.tasks import documents, engine, reports
from farshore_edge.tasks.admission import admitted
from farshore_edge.tasks.documents import Document
from farshore_edge.tasks.drivers.model import Running
from farshore_edge.tasks.drivers_here import DriversHere
from farshore_edge.tasks.folders import Folders
from farshore_edge.tasks.keepers import Keepers
from farshore_edge.tasks.lease_files import FileLeases, Leases
from farshore_edge.tasks.ledger import Ledger
from farshore_edge.tasks.model import Books, Kept
from farshore_edge.tasks.office import Office
from farshore_edge.tasks.parts import TaskParts
from farshore_edge.tasks.renewing import Renewing

log = logging.getLogger(__name__)

RETRY_S = 5.0
REPORT_S = 0.3
"""After a change: what else changes meanwhile travels in the same report."""
TRIM_S = 60.0


class TaskService:
    def __init__(
        self,
        parts: TaskParts,
        *,
        node: str,
        boot: str,
        link: Link,
        database: Database,
        outbox: Outbox,
        now_ms: Callable[[], int],
        boot_s: Callable[[], float],
        config: Callable[[], Mapping[str, Any]],
        unheard: Callable[[str, str, str], None],
        capable: Callable[[], None],
    ) -> None:
        """``boot_s``: the clock of leases. ``capable`` is called when a driver has come: the birth names
        them. ``unheard(topic, code, detail)`` notes what was not
        understood. The database may not be there yet: ``begin`` says when it is."""
        self._parts = parts
        self._now_ms = now_ms
        self._unheard = unheard
        self._capable = capable
        self._ledger = Ledger(database, outbox)
        self._here = DriversHere(parts.drivers, parts.deadlines)
        self._incoming: Document | None = None
        self._wake = asyncio.Event()
        self._there = asyncio.Event()
        self._report_due = asyncio.Event()
        self._folders = parts.folders or Folders(parts.folder)
        self._refused: set[str] = set()
        self._keepers = Keepers(lambda: self._office, self._ledger, self._leased)
        self._renewing = Renewing(
            node=node, boot=boot, link=link, boot_s=boot_s, keepers=lambda: self._keepers
        )
        self._office = Office(
            node=node,
            parts=parts,
            drivers=self._here.usable,
            missing=self._here.missing,
            folders=self._folders,
            leases=self._lease_book(),
            tell=self._ledger.tell,
            changed=self._report_due.set,
            now_ms=now_ms,
            boot_s=boot_s,
            config=config,
            taken=self._keepers.taken,
            gpus=self._keepers.gpus,
            devices=self._keepers.devices,
            environ=parts.inherited,
        )

    def _leased(self) -> None:
        self._renewing.hurry()

    def _lease_book(self) -> Leases:
        if self._parts.leases is not None:
            return self._parts.leases
        return FileLeases(self._folders.root, self._parts.machine_boot)

    # What it says of itself

    def drivers(self) -> tuple[str, ...]:
        """For the birth: those that this machine can use."""
        return self._here.names()

    async def cluster(self) -> dict[str, Any] | None:
        """For the facts, see ``DriversHere.cluster``."""
        return await self._here.cluster()

    def revisions(self) -> dict[str, int]:
        return {"tasks": self._ledger.books.rev} if self._ledger.books.rev else {}

    def status(self) -> dict[str, Any]:
        return {
            "rev": self._ledger.books.rev,
            "drivers": list(self.drivers()),
            "unusable": dict(self._here.missing),
            "limits": self._parts.limits(),
            "held": [reports.in_short(kept) for kept in self._keepers.all()],
        }

    def running(self) -> dict[str, Running]:
        """``TASK/INSTANCE`` → its run, of all that run now."""
        return self._keepers.running()

    # What it is told

    def begin(self) -> None:
        """The database is there."""
        self._there.set()

    def birth_said(self) -> None:
        """On a new connection, or to a center that came meanwhile and may know less than the one before it:
        it is told what is here, and leases are asked for."""
        self._renewing.hurry()
        if self._ledger.books.rev:
            self._report_due.set()

    def take(self, payload: bytes) -> None:
        """A document from the link. Raises MessageError for what is none."""
        document = documents.read(payload)
        if self._incoming is None or document.rev >= self._incoming.rev:
            self._incoming = document
            self._wake.set()

    def take_lease(self, payload: bytes) -> None:
        """An answer from the link. Raises MessageError for what is none."""
        self._renewing.take(payload)

    # Life

    async def prepare(self) -> None:
        """Before the birth: which drivers can be used here."""
        await self._here.prepare()

    async def run(self) -> None:
        await self._there.wait()
        await self._ledger.load()
        self._keepers.take_up()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work())
            group.create_task(self._here.run(self._live, self._capable))
            group.create_task(self._renewing.run())
            group.create_task(self._report())
            group.create_task(self._trim())

    def _live(self) -> frozenset[str]:
        """Ids of all that has not ended."""
        return frozenset(kept.id for kept in self._keepers.all() if not kept.ended)

    async def _sweep(self) -> None:
        """Ends what runs and belongs to nobody, and lets go of its folder."""
        await self._here.sweep(self._live())
        for name in self._folders.names():
            if name not in self._ledger.books.kept:
                await asyncio.to_thread(self._folders.remove, name)

    async def stop(self) -> None:
        """Lets go of everything; what runs goes on."""
        await self._keepers.let_go()

    async def _work(self) -> None:
        await self._sweep()  # before anything new is begun: it would be nobody's
        while True:
            document = self._incoming
            if document is None:
                await self._wake.wait()
                self._wake.clear()
                continue
            try:
                await self._consider(document)
            except DatabaseError as exc:
                log.error("tasks can't be taken, the disk fails", extra={"error": str(exc)})
                await self._pause(RETRY_S)
                continue
            if self._incoming is document:
                self._incoming = None

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _consider(self, document: Document) -> None:
        """Load, decide, persist, act. Raises DatabaseError, and then nothing was done."""
        unread = {Kept(grant=grant).id: (grant, why) for grant, why in document.unread}
        books = replace(
            self._ledger.books,
            kept={name: self._keepers.now(name) for name in self._ledger.books.kept},
        )
        plan = engine.plan(books, document.rev, document.grants, frozenset(unread))
        if plan.older:
            log.warning("an older document of tasks is ignored", extra={"rev": document.rev})
            self._report_due.set()
            return
        taken = {
            kept.id: kept
            for kept in (admitted(grant, self._here, self._now_ms()) for grant in plan.take)
        }
        stops = {
            name: replace(books.kept[name], stop=books.kept[name].stop or reason)
            for name, reason in plan.stop
        }
        rows = [kept.row() for kept in (*taken.values(), *stops.values())]
        await self._ledger.write(
            TaskChange(rev=plan.rev, epochs=plan.highest(), gone=plan.forget, rows=rows)
        )
        kept = {
            name: each for name, each in self._ledger.books.kept.items() if name not in plan.forget
        }
        highest = {**self._ledger.books.highest, **plan.highest()}
        self._ledger.books = Books(rev=plan.rev, highest=highest, kept={**kept, **taken})
        self._keepers.named = frozenset((*(Kept(grant=g).id for g in document.grants), *unread))
        await self._act(plan, taken)
        await self._complain(plan, document)
        self._report_due.set()

    async def _act(self, plan: engine.Plan, taken: Mapping[str, Kept]) -> None:
        for name in plan.forget:
            await asyncio.to_thread(self._folders.remove, name)
        for name, reason in plan.stop:
            self._keepers.stop(name, reason)
        for kept in taken.values():
            if kept.ended:
                await self._ledger.tell(kept)
        self._keepers.start_waiting()

    async def _complain(self, plan: engine.Plan, document: Document) -> None:
        """What was not taken is said once."""
        refused = [*plan.refuse, *((grant, "bad_grant", why) for grant, why in document.unread)]
        for grant, code, why in refused:
            name = Kept(grant=grant).id
            if name not in self._refused and name not in self._ledger.books.kept:
                self._refused.add(name)
                await self._ledger.say(reports.refusal(grant, self._now_ms(), code, why[:900]))
        for why in document.nameless:
            self._unheard("desired/tasks", "bad_message", why)

    async def _report(self) -> None:
        while True:
            await self._report_due.wait()
            await asyncio.sleep(REPORT_S)
            self._report_due.clear()
            await self._ledger.report(self._keepers.all())

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(TRIM_S)
            for keeper in self._keepers:
                await asyncio.to_thread(self._folders.trim, keeper.kept.id)
