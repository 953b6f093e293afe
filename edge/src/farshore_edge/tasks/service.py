"""The node's supervisor: keeps what it was given running, with or without a center.

A document is durable before anything of it is done. What ran before this agent is taken up; what runs
and belongs to nobody is ended. The agent's own end ends nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from farshore_protocol.link import Link
from farshore_protocol.tasks import Grant

from farshore_edge.database import Change, Database, TaskBooks, TaskChange
from farshore_edge.errors import DatabaseError, RecordError
from farshore_edge.outbox import Outbox
from farshore_edge.tasks import documents, engine, reports
from farshore_edge.tasks.documents import Document
from farshore_edge.tasks.drivers.model import Capacity, Driver, DriverError, Running
from farshore_edge.tasks.folders import Folders
from farshore_edge.tasks.keeper import WHY, Keeper
from farshore_edge.tasks.lease_files import FileLeases, Leases
from farshore_edge.tasks.model import Books, Kept, kept_of
from farshore_edge.tasks.office import Office, called, settings_of
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
    ) -> None:
        """``boot_s``: the clock of leases. ``unheard(topic, code, detail)`` notes what was not
        understood. The database may not be there yet: ``begin`` says when it is."""
        self._parts = parts
        self._database = database
        self._outbox = outbox
        self._now_ms = now_ms
        self._unheard = unheard
        self._drivers: dict[str, Driver] = {}
        self._missing: dict[str, str] = {}
        self._books = Books()
        self._named: frozenset[str] | None = None
        self._refused: set[str] = set()
        self._keepers: dict[str, Keeper] = {}
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._incoming: Document | None = None
        self._wake = asyncio.Event()
        self._there = asyncio.Event()
        self._report_due = asyncio.Event()
        self._folders = parts.folders or Folders(parts.folder)
        self._renewing = Renewing(
            node=node, boot=boot, link=link, boot_s=boot_s, keepers=lambda: self._keepers.values()
        )
        self._office = Office(
            node=node,
            parts=parts,
            drivers=self._drivers,
            folders=self._folders,
            leases=self._lease_book(),
            tell=self._told,
            changed=self._report_due.set,
            now_ms=now_ms,
            boot_s=boot_s,
            config=config,
            taken=self._taken,
            environ=parts.inherited,
        )

    def _lease_book(self) -> Leases:
        if self._parts.leases is not None:
            return self._parts.leases
        return FileLeases(self._folders.root, self._parts.machine_boot)

    # What it says of itself

    def drivers(self) -> tuple[str, ...]:
        """For the birth: those that this machine can use."""
        return tuple(sorted(self._drivers))

    async def cluster(self) -> dict[str, Any] | None:
        """What a driver adds to this node that hands work to a cluster; None where there is none. Then
        the node's own processors and memory do not count for that driver's tasks."""
        for driver in self._drivers.values():
            asked = getattr(driver, "capacity", None)
            capacity: Capacity | None = None if asked is None else await asked()
            if capacity is not None:
                return {
                    "driver": driver.name,
                    "cpu_cores": capacity.cpu_cores,
                    "memory_bytes": capacity.memory_bytes,
                    **capacity.facts,
                }
        return None

    def revisions(self) -> dict[str, int]:
        return {"tasks": self._books.rev} if self._books.rev else {}

    def status(self) -> dict[str, Any]:
        return {
            "rev": self._books.rev,
            "drivers": list(self.drivers()),
            "unusable": dict(self._missing),
            "limits": self._parts.limits(),
            "held": [reports.in_short(kept) for kept in self._all()],
        }

    def running(self) -> dict[str, Running]:
        """``TASK/INSTANCE`` → its run, of all that run now."""
        return {
            keeper.kept.key: keeper.running
            for keeper in self._keepers.values()
            if keeper.running is not None
        }

    def _all(self) -> list[Kept]:
        return [self._now(name) for name in self._books.kept]

    def _now(self, name: str) -> Kept:
        keeper = self._keepers.get(name)
        return self._books.kept[name] if keeper is None else keeper.kept

    def _taken(self) -> frozenset[int]:
        return frozenset(n for kept in self._all() if not kept.ended for n in kept.cpus)

    # What it is told

    def begin(self) -> None:
        """The database is there."""
        self._there.set()

    def link_up(self) -> None:
        """The birth is said: the center is told what is here, and leases are asked for."""
        self._renewing.hurry()
        if self._books.rev:
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
        limit_s = self._parts.deadlines.available_s

        async def ask(driver: Driver) -> None:
            try:
                why = await called(driver.available(), limit_s, f"driver {driver.name}")
            except DriverError as exc:
                why = exc.detail
            if why is None:
                self._drivers[driver.name] = driver
            else:
                self._missing[driver.name] = why
                log.info("a driver can't be used", extra={"driver": driver.name, "reason": why})

        await asyncio.gather(*map(ask, self._parts.drivers))

    async def run(self) -> None:
        await self._there.wait()
        self._load(await self._read())
        await self._sweep()
        for kept in list(self._books.kept.values()):
            if not kept.ended:
                self._keep(kept, recovered=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work())
            group.create_task(self._renewing.run())
            group.create_task(self._report())
            group.create_task(self._trim())

    async def _read(self) -> TaskBooks:
        while True:
            try:
                return self._database.tasks()
            except DatabaseError as exc:
                log.error("the tasks can't be read", extra={"error": str(exc)})
            await asyncio.sleep(RETRY_S)

    def _load(self, books: TaskBooks) -> None:
        kept = {}
        for row in books.rows:
            try:
                kept[row.id] = kept_of(row)
            except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
                # It is ended below as nobody's, and the center sends the document again.
                log.error("a task can't be read", extra={"task": row.id, "error": str(exc)})
        whole = len(kept) == len(books.rows)
        rev = max(self._books.rev, books.rev if whole else 0)
        self._books = Books(rev=rev, highest=dict(books.epochs), kept=kept)

    async def _sweep(self) -> None:
        """Ends what runs and belongs to nobody, and lets go of its folder."""
        live = frozenset(n for n, kept in self._books.kept.items() if not kept.ended)
        for driver in self._drivers.values():
            try:
                limit_s = self._parts.deadlines.sweep_s
                ended = await called(driver.sweep(live), limit_s, f"driver {driver.name}: sweep")
            except DriverError as exc:
                log.error("what belongs to nobody could not be ended", extra={"error": exc.detail})
                continue
            if ended:
                log.warning("ended what belongs to no task", extra={"processes": ", ".join(ended)})
        for name in self._folders.names():
            if name not in self._books.kept:
                await asyncio.to_thread(self._folders.remove, name)

    async def stop(self) -> None:
        """Lets go of everything; what runs goes on."""
        for life in self._lives.values():
            life.cancel()
        if self._lives:
            await asyncio.wait(self._lives.values(), timeout=RETRY_S)

    async def _work(self) -> None:
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
        books = replace(self._books, kept={name: self._now(name) for name in self._books.kept})
        plan = engine.plan(books, document.rev, document.grants, frozenset(unread))
        if plan.older:
            log.warning("an older document of tasks is ignored", extra={"rev": document.rev})
            self._report_due.set()
            return
        taken = {kept.id: kept for kept in map(self._admitted, plan.take)}
        stops = {
            name: replace(books.kept[name], stop=books.kept[name].stop or reason)
            for name, reason in plan.stop
        }
        rows = [kept.row() for kept in (*taken.values(), *stops.values())]
        await self._persist(
            TaskChange(rev=plan.rev, epochs=plan.highest(), gone=plan.forget, rows=rows)
        )
        kept = {name: each for name, each in self._books.kept.items() if name not in plan.forget}
        highest = {**self._books.highest, **plan.highest()}
        self._books = Books(rev=plan.rev, highest=highest, kept={**kept, **taken})
        self._named = frozenset((*(Kept(grant=g).id for g in document.grants), *unread))
        await self._act(plan, taken)
        await self._complain(plan, document)
        self._report_due.set()

    async def _act(self, plan: engine.Plan, taken: Mapping[str, Kept]) -> None:
        for name in plan.forget:
            await asyncio.to_thread(self._folders.remove, name)
        for name, reason in plan.stop:
            if name in self._keepers:
                self._keepers[name].stop(reason)
        for kept in taken.values():
            if kept.ended:
                await self._told(kept)
        self._start_waiting()

    async def _complain(self, plan: engine.Plan, document: Document) -> None:
        """What was not taken is said once."""
        refused = [*plan.refuse, *((grant, "bad_grant", why) for grant, why in document.unread)]
        for grant, code, why in refused:
            name = Kept(grant=grant).id
            if name not in self._refused and name not in self._books.kept:
                self._refused.add(name)
                await self._say(reports.refusal(grant, self._now_ms(), code, why[:900]))
        for why in document.nameless:
            self._unheard("desired/tasks", "bad_message", why)

    def _admitted(self, grant: Grant) -> Kept:
        kept, now_ms = Kept(grant=grant, at_ms=self._now_ms()), self._now_ms()
        if grant.want == "stop":
            reason = grant.reason or "asked"
            return kept.moved("stopped", now_ms, code=reason, reason=WHY[reason])
        driver = self._drivers.get(grant.spec.driver)
        if driver is None:
            here = ", ".join(self.drivers()) or "none"
            why = f"driver {grant.spec.driver}: this node has {here}"
            if (missing := self._missing.get(grant.spec.driver)) is not None:
                why = f"driver {grant.spec.driver} can't be used here: {missing}"
            return kept.moved("rejected", now_ms, code="no_driver", reason=why)
        try:
            settings_of(driver, grant.spec.run)
        except DriverError as exc:
            return kept.moved("rejected", now_ms, code=exc.code, reason=exc.detail[:900])
        return kept

    # Keepers

    def _start_waiting(self) -> None:
        """A grant is begun once no other of its instance is at work here."""
        busy = {keeper.kept.key for keeper in self._keepers.values()}
        for name, kept in self._books.kept.items():
            if name not in self._keepers and not kept.ended and kept.key not in busy:
                busy.add(kept.key)
                self._keep(kept)

    def _keep(self, kept: Kept, *, recovered: bool = False) -> None:
        keeper = self._keepers[kept.id] = Keeper(kept, self._office, recovered=recovered)
        life = asyncio.create_task(keeper.run(), name=f"task {kept.id}")
        self._lives[kept.id] = life
        life.add_done_callback(lambda done: self._over(keeper, done))
        if kept.leased:
            self._renewing.hurry()

    def _over(self, keeper: Keeper, life: "asyncio.Task[None]") -> None:
        name = keeper.kept.id
        if life.cancelled():
            return
        if life.exception() is not None:
            log.critical("the keeper of a task broke", exc_info=life.exception())
            return
        del self._keepers[name], self._lives[name]
        if name in self._books.kept:
            self._books = replace(self._books, kept={**self._books.kept, name: keeper.kept})
            if self._named is not None and name not in self._named:
                self._forget(name)
        self._start_waiting()
        self._report_due.set()

    def _forget(self, name: str) -> None:
        """Nobody asks for it, and it has ended."""
        kept = {each: value for each, value in self._books.kept.items() if each != name}
        self._books = replace(self._books, kept=kept)
        self._outbox.note(Change(tasks=(TaskChange(gone=(name,)),)))
        self._folders.remove(name)

    # Persisting and telling

    async def _persist(self, change: TaskChange) -> None:
        """Durable when it returns. What waits in memory would be written over it: none of that then."""
        if (outage := self._outbox.outage()) is not None:
            raise DatabaseError(outage.error)
        await self._database.commit(Change(tasks=(change,)))

    async def _told(self, kept: Kept) -> None:
        """The state and its event are durable together, or wait in memory together."""
        row = TaskChange(rows=(kept.spoken().row(),))
        await self._say(reports.event(kept), row)

    async def _say(self, body: dict[str, Any], *tasks: TaskChange) -> None:
        try:
            await self._outbox.append("events", "evt/task", body, tasks=tasks)
        except RecordError as exc:
            log.error("an event of a task can't travel", extra={"error": str(exc)})
            if tasks:
                self._outbox.note(Change(tasks=tasks))

    async def _report(self) -> None:
        while True:
            await self._report_due.wait()
            await asyncio.sleep(REPORT_S)
            self._report_due.clear()
            body = reports.report(self._books.rev, self._all(), self._books.highest)
            try:
                await self._outbox.append("reports", "rep/tasks", body)
            except RecordError as exc:
                log.error("the report of tasks can't travel", extra={"error": str(exc)})

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(TRIM_S)
            for name in list(self._keepers):
                await asyncio.to_thread(self._folders.trim, name)
