"""From a grant to a run: all that is prepared, a lease where there has to be one, and the start; or what
an agent before this one has begun, taken up."""

import asyncio
import logging
from dataclasses import replace

from farshore_edge.tasks import engine
from farshore_edge.tasks.account import Account
from farshore_edge.tasks.drivers.model import Driver, DriverError, Exit, Running, Work
from farshore_edge.tasks.office import Office, called
from farshore_edge.tasks.orders import Orders

log = logging.getLogger(__name__)

AT_WORK = ("starting", "running", "stopping")
"""States in which something of it may run."""

Begun = tuple[Running, Work]


class Beginning:
    def __init__(self, account: Account, orders: Orders, office: Office) -> None:
        self._account = account
        self._orders = orders
        self._office = office
        self._spec = account.kept.grant.spec

    @property
    def _driver(self) -> Driver:
        return self._office.drivers[self._spec.driver]

    async def has_driver(self) -> bool:
        """Waits for a driver that can't be used now: what an earlier agent has begun by it may run, and
        is not said to have ended. False: it has ended for good."""
        account, office, name = self._account, self._office, self._spec.driver
        while name not in office.drivers:
            if name not in {each.name for each in office.parts.drivers}:
                account.fail("no_driver", f"the driver {name} is not here any more")
                return False
            account.note(
                f"its driver can't be used now: {office.missing.get(name, 'not known why')}"
            )
            waited = await self._orders.waited(office.parts.deadlines.ask_s)
            if not waited and account.kept.state not in AT_WORK:
                account.stopped()
                return False
            if not waited:
                await asyncio.sleep(office.parts.deadlines.ask_s)
        return True

    async def begin(self) -> Begun | None:
        """None: not begun; the state says how it goes on."""
        account, office, limits = self._account, self._office, self._office.parts.deadlines
        leased = account.kept.leased
        if account.kept.state != "preparing":
            account.move("preparing")
        account.later()
        work: Work | None = None
        try:
            work = await self._prepared()
            if work is None or (leased and not await self._orders.leased()):
                return None
            office.check_gpus(account.kept)
            office.check_devices(account.kept)
            account.move("starting")
            account.later()
            office.folders.forget_result(account.kept.id)
            starting = self._driver.start(work)
            running = await called(starting, limits.start_s, "start", account.note, limits.slow_s)
        except DriverError as trouble:
            unknown = trouble.code in ("hangs", "broken") and account.kept.state == "starting"
            if unknown and work and (found := await self._looked_up(work)) is not None:
                return self._began(found, work)
            now_ms = office.now_ms()
            account.go_on(engine.after_trouble(account.kept, trouble, run_s=0.0, now_ms=now_ms))
            await self.put_away(work)
            return None
        return self._began(running, work)

    def _began(self, running: Running, work: Work) -> Begun:
        account = self._account
        account.began_s = self._office.boot_s()
        account.kept = replace(
            account.kept,
            runs=account.kept.runs + 1,
            trace=dict(running.trace),
            pid=running.pid,
            healthy=None,
        )
        return running, work

    async def _prepared(self) -> Work | None:
        """None where it is to end meanwhile. Raises DriverError."""
        preparing = asyncio.ensure_future(self._prepare())
        if await self._orders.first(preparing):
            return preparing.result()
        preparing.cancel()
        await asyncio.wait({preparing}, timeout=1.0)
        return None

    async def _prepare(self) -> Work:
        account, office = self._account, self._office
        limits, note = office.parts.deadlines, account.note
        if not account.kept.cpus:
            cpus = office.parts.assigner.cpus(self._spec, office.taken())
            account.kept = replace(account.kept, cpus=cpus)
        work = office.work(account.kept.grant, account.kept.cpus)
        try:
            office.folders.make(account.kept.id)
        except OSError as exc:
            raise DriverError("no_folder", f"its folder can't be made: {exc}") from exc
        fetching = office.parts.artifacts.fetch(self._spec.artifacts, work.folder)
        await called(fetching, limits.prepare_s, "artifacts", note, limits.slow_s)
        await called(self._driver.prepare(work), limits.prepare_s, "prepare", note, limits.slow_s)
        return work

    async def put_away(self, work: Work | None) -> None:
        """Once the end is durable, the driver may forget it."""
        await self._account.said()
        if work is not None:
            try:
                limit_s = self._office.parts.deadlines.remove_s
                await called(self._driver.remove(work), limit_s, "remove")
            except DriverError as exc:
                log.warning(
                    "what a task has left can't be removed",
                    extra={"task": self._account.kept.id, "error": exc.detail},
                )

    # After an agent's death

    async def taken_up(self) -> Begun | None:
        """What an earlier agent has begun of it; what it did in its last quarter of a second
        (``account.QUIET_S``) may not stand in its books."""
        account, kept = self._account, self._account.kept
        try:
            work = self._office.work(kept.grant, kept.cpus)
            self._office.folders.make(kept.id)
        except (DriverError, OSError) as exc:
            if kept.state == "received":
                return None  # ``begin`` fails the same way, and tells it
            why = f"what the agent before had begun can't be taken up: {exc}"
            account.fail("not_taken_up", why)
            return None
        found = await self._looked_up(work)
        if found is not None:
            self._goes_on(found)
            return found, work
        kept = account.kept  # it may have been asked to end meanwhile
        if kept.state in ("starting", "running"):
            now_ms = self._office.now_ms()
            account.go_on(engine.after_end(kept, Exit(), run_s=0.0, now_ms=now_ms))
        elif kept.state == "stopping":
            account.stopped()
        return None

    def _goes_on(self, found: Running) -> None:
        account, office, kept = self._account, self._office, self._account.kept
        log.info("a task is taken up", extra={"task": kept.id, "pid": found.pid})
        for state in ("preparing", "starting"):
            before = account.kept.state
            if before in ("received", "preparing", "backing_off") and before != state:
                account.move(state)
        account.kept = replace(account.kept, trace=dict(found.trace), pid=found.pid)
        ago_s = max(0.0, (office.now_ms() - kept.at_ms) / 1000)
        account.began_s = office.boot_s() - (ago_s if kept.state == "running" else 0.0)
        if kept.leased and not self._orders.lease_lasts():
            self._orders.stop("lease_over")

    async def _looked_up(self, work: Work) -> Running | None:
        """Asked until it is known whether something of it runs."""
        limits = self._office.parts.deadlines
        pause_s = limits.again_s
        while True:
            try:
                trace = self._account.kept.trace or {}
                return await called(self._driver.adopt(work, trace), limits.adopt_s, "adopt")
            except DriverError as exc:
                self._account.note(f"not known whether it runs: {exc.detail}")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, limits.again_max_s)
