"""The life of one instance at its node: begins it, watches it, begins it again, ends it.

What follows from what is decided by ``engine.py``. Every state is told by an event, those that pass
within ``QUIET_S`` by the next. A keeper that is cancelled (the agent stops) ends nothing: what runs is
taken up by the next agent.
"""

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any

from farshore_edge.tasks import checking, engine
from farshore_edge.tasks.drivers.model import Driver, DriverError, Exit, Running, Work
from farshore_edge.tasks.engine import Next
from farshore_edge.tasks.lease import Lease
from farshore_edge.tasks.model import Kept
from farshore_edge.tasks.office import Office, called

log = logging.getLogger(__name__)

QUIET_S = 0.25
AGAIN_S = (1.0, 30.0)
"""Between two attempts at what has to come about: to end something, to know whether it runs."""

FRESH = dict.fromkeys(("code", "reason", "exit_code", "signal", "run_s"))
"""What is said of a run that has begun: nothing of the one before it."""

WHY = {
    "asked": "it was asked to stop",
    "lease_over": "its lease was not renewed in time",
    "superseded": "a newer grant has taken its place",
    "drained": "its node is drained",
    "preempted": "another task with a higher priority needs its place",
    "moved": "it was moved",
    "removed": "it is not this node's any more",
}


class Keeper:
    """``kept`` as it stands now; ``lease`` of one that has to have one."""

    def __init__(self, kept: Kept, office: Office, *, recovered: bool = False) -> None:
        """``recovered``: an earlier agent may have begun it."""
        self.kept = kept
        self.running: Running | None = None
        self.lease: Lease | None = office.leases.find(kept.id) if kept.leased else None
        self._office = office
        self._spec = kept.grant.spec
        self._recovered = recovered
        self._began_s = office.boot_s()
        self._again_s = 0.0
        self._wished = asyncio.Event()
        self._renewed = asyncio.Event()
        self._saying = asyncio.Lock()
        self._says: set[asyncio.Task[None]] = set()
        self._quiet: asyncio.TimerHandle | None = None
        if kept.stop is not None:
            self._wished.set()

    # What it is told

    def stop(self, reason: str) -> None:
        """Ends it; the first reason stays."""
        if self.kept.stop is None and not self.kept.ended:
            self.kept = replace(self.kept, stop=reason)
            self._wished.set()

    def renew(self, lease: Lease) -> None:
        """From now on it may run until then; a lease that can't be kept is not renewed."""
        if self.kept.stop is not None or (self.lease and lease.end_s <= self.lease.end_s):
            return
        try:
            self._office.folders.make(self.kept.id)  # it may come before anything is prepared
            self._office.leases.keep(self.kept.id, lease)
        except OSError as exc:
            log.error("a lease can't be kept", extra={"task": self.kept.id, "error": str(exc)})
            return
        self.lease = lease
        self._renewed.set()

    def lease_lasts(self) -> bool:
        return self.lease is not None and self._office.boot_s() < self.lease.stop_s

    # Its life

    async def run(self) -> None:
        """Until it has ended for good and that is durable."""
        try:
            await self._live()
        finally:
            if self._quiet is not None:
                self._quiet.cancel()
        while self._says:
            await asyncio.wait(self._says)

    @property
    def _driver(self) -> Driver:
        return self._office.drivers[self._spec.driver]

    async def _live(self) -> None:
        if self._spec.driver not in self._office.drivers:
            self._fail("no_driver", f"the driver {self._spec.driver} is not here any more")
            return
        running = await self._taken_up() if self._recovered else None
        while not self.kept.ended:
            if running is not None:
                run, running = running, None
                await self._watch(*run)
            elif self.kept.stop is not None:
                self._ended_without_run()
            elif self.kept.state == "backing_off" and not await self._waited():
                continue
            else:
                running = await self._begin()

    def _ended_without_run(self) -> None:
        reason = WHY.get(self.kept.stop or "", self.kept.stop)
        if self.kept.state == "starting":
            self._move("stopping")
        self._move("stopped", code=self.kept.stop, reason=reason)
        self._tell()

    async def _waited(self) -> bool:
        """The pause before the next start; False when it is to end instead."""
        left_s = self._again_s - asyncio.get_running_loop().time()
        if left_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._wished.wait()
        return not self._wished.is_set()

    # Beginning

    async def _begin(self) -> tuple[Running, Work] | None:
        """None: not begun; the state says how it goes on."""
        kept, office, limits = self.kept, self._office, self._office.parts.deadlines
        if kept.state != "preparing":
            self._move("preparing")
        self._later()
        work: Work | None = None
        try:
            work = await self._prepared()
            if work is None or (kept.leased and not await self._leased()):
                return None
            self._move("starting")
            self._later()
            office.folders.forget_result(kept.id)
            running = await called(self._driver.start(work), limits.start_s, "start")
        except DriverError as trouble:
            if self.kept.state == "starting" and trouble.code in ("hangs", "broken") and work:
                found = await self._looked_up(work)
                if found is not None:
                    return self._began(found, work)
            self._go_on(engine.after_trouble(self.kept, trouble, run_s=0.0, now_ms=office.now_ms()))
            await self._put_away(work)
            return None
        return self._began(running, work)

    def _began(self, running: Running, work: Work) -> tuple[Running, Work]:
        self._began_s = self._office.boot_s()
        self.kept = replace(
            self.kept,
            runs=self.kept.runs + 1,
            trace=dict(running.trace),
            pid=running.pid,
            healthy=None,
        )
        return running, work

    async def _prepared(self) -> Work | None:
        """None where it is to end meanwhile. Raises DriverError."""
        preparing = asyncio.ensure_future(self._prepare())
        if await self._first(preparing):
            return preparing.result()
        preparing.cancel()
        await asyncio.wait({preparing}, timeout=1.0)
        return None

    async def _prepare(self) -> Work:
        office, kept = self._office, self.kept
        limit_s = office.parts.deadlines.prepare_s
        if not kept.cpus:
            cpus = office.parts.assigner.cpus(self._spec, office.taken())
            self.kept = replace(self.kept, cpus=cpus)
        work = office.work(kept.grant, self.kept.cpus)
        try:
            office.folders.make(kept.id)
        except OSError as exc:
            raise DriverError("no_folder", f"its folder can't be made: {exc}") from exc
        fetching = office.parts.artifacts.fetch(self._spec.artifacts, work.folder)
        await called(fetching, limit_s, "artifacts")
        await called(self._driver.prepare(work), limit_s, "prepare")
        return work

    async def _leased(self) -> bool:
        """Waits for a lease; False when it is to end instead."""
        while not self.lease_lasts():
            self._renewed.clear()
            if not await self._first(asyncio.ensure_future(self._renewed.wait())):
                return False
        return not self._wished.is_set()

    async def _first(self, work: "asyncio.Future[Any]") -> bool:
        """Waits until it is done, or the instance is to end; whether it is done."""
        wish = asyncio.ensure_future(self._wished.wait())
        try:
            await asyncio.wait({work, wish}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            wish.cancel()
        if not work.done():
            work.add_done_callback(lambda done: done.cancelled() or done.exception())
        return work.done()

    # After an agent's death

    async def _taken_up(self) -> tuple[Running, Work] | None:
        """What an earlier agent has begun of it."""
        kept = self.kept
        if kept.state == "received":
            return None
        try:
            work = self._office.work(kept.grant, kept.cpus)
            self._office.folders.make(kept.id)
        except (DriverError, OSError) as exc:
            self._fail("not_taken_up", f"what the agent before had begun can't be taken up: {exc}")
            return None
        found = await self._looked_up(work)
        kept = self.kept  # it may have been asked to end meanwhile
        if found is not None:
            log.info("a task is taken up", extra={"task": kept.id, "pid": found.pid})
            for state in ("preparing", "starting"):
                if self.kept.state in ("preparing", "backing_off") and self.kept.state != state:
                    self._move(state)
            self.kept = replace(self.kept, trace=dict(found.trace), pid=found.pid)
            ago_s = max(0.0, (self._office.now_ms() - kept.at_ms) / 1000)
            self._began_s = self._office.boot_s() - (ago_s if kept.state == "running" else 0.0)
            if kept.leased and not self.lease_lasts():
                self.stop("lease_over")
            return found, work
        if kept.state in ("starting", "running"):
            end = engine.after_end(kept, Exit(), run_s=0.0, now_ms=self._office.now_ms())
            self._go_on(end)
        elif kept.state == "stopping":
            self._move("stopped", code=kept.stop, reason=WHY.get(kept.stop or "", kept.stop))
            self._tell()
        return None

    async def _looked_up(self, work: Work) -> Running | None:
        """Asked until it is known whether something of it runs."""
        pause_s, most_s = AGAIN_S
        while True:
            limit_s = self._office.parts.deadlines.adopt_s
            try:
                trace = self.kept.trace or {}
                return await called(self._driver.adopt(work, trace), limit_s, "adopt")
            except DriverError as exc:
                self._note(f"not known whether it runs: {exc.detail}")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, most_s)

    # Running

    async def _watch(self, running: Running, work: Work) -> None:
        self.running = running
        try:
            await self._watched(running, work)
        finally:
            self.running = None

    async def _watched(self, running: Running, work: Work) -> None:
        waiting = asyncio.ensure_future(running.wait())
        checking_ = self._checking(work)
        wish = asyncio.ensure_future(self._wished.wait())
        if checking_ is None and self.kept.state == "starting":
            self._move("running", **FRESH)
            self._tell()
        watched: set[asyncio.Future[Any]] = {waiting, wish}
        watched |= {checking_} if checking_ is not None else set()
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in watched:
                each.cancel()
                each.add_done_callback(lambda done: done.cancelled() or done.exception())
        if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
            await self._by_itself(waiting.result(), work)
        elif self._wished.is_set():
            await self._stop(running, work)
        else:
            await self._sick(running, work, checking_, waiting)

    def _checking(self, work: Work) -> "asyncio.Future[str] | None":
        check = self._spec.health
        if check is None or self.kept.stop is not None:
            return None
        return asyncio.ensure_future(
            checking.sick(check, self._office.parts.probe, work, told=self._health)
        )

    def _health(self, healthy: bool, started: bool) -> None:
        before = self.kept.healthy
        self.kept = replace(self.kept, healthy=healthy)
        if self.kept.state == "starting" and started:
            self._move("running", **FRESH)
            self._tell()
        elif before is not healthy:
            self._office.changed()

    async def _by_itself(self, end: Exit, work: Work) -> None:
        """It has ended without being asked to; a lease that is over was the reason."""
        office, run_s = self._office, self._run_s()
        if self.kept.leased and not self.lease_lasts() and self.kept.stop is None:
            self.stop("lease_over")
        if self.kept.stop is not None:
            self._stopped(end, run_s)
        else:
            kept, then = engine.after_end(self.kept, end, run_s=run_s, now_ms=office.now_ms())
            if then.state == "succeeded":
                result, why = office.folders.read_result(kept.id)
                kept, then = replace(kept, result=result), replace(then, reason=why)
            self._go_on((kept, then))
        await self._put_away(work)

    async def _sick(
        self,
        running: Running,
        work: Work,
        checked: "asyncio.Future[str] | None",
        waiting: "asyncio.Future[Exit]",
    ) -> None:
        """It is ended so that it can be begun again."""
        if checked is not None and checked.done() and not checked.cancelled():
            broke = checked.exception()
            trouble = DriverError("unhealthy", checked.result() if broke is None else str(broke))
        else:
            broke = waiting.exception() if not waiting.cancelled() else None
            trouble = broke if isinstance(broke, DriverError) else DriverError("broken", str(broke))
            trouble = DriverError(trouble.code, trouble.detail)
        self.kept = replace(self.kept, healthy=False)
        end = await self._ended(running)
        if self.kept.stop is not None:
            self._stopped(end, self._run_s())
        else:
            run_s, now_ms = self._run_s(), self._office.now_ms()
            kept = replace(self.kept, exit_code=end.exit_code, signal=end.signal, run_s=run_s)
            self._go_on(engine.after_trouble(kept, trouble, run_s=run_s, now_ms=now_ms))
        await self._put_away(work)

    async def _stop(self, running: Running, work: Work) -> None:
        if self.kept.state != "stopping":
            self._move("stopping", code=self.kept.stop)
            self._later()
        end = await self._ended(running)
        self._stopped(end, self._run_s())
        await self._put_away(work)

    def _stopped(self, end: Exit, run_s: float) -> None:
        if self.kept.state != "stopping":
            self._move("stopping")
        self._move(
            "stopped",
            exit_code=end.exit_code,
            signal=end.signal,
            run_s=round(run_s, 3),
            code=self.kept.stop,
            reason=WHY.get(self.kept.stop or "", self.kept.stop),
        )
        self._tell()

    async def _ended(self, running: Running) -> Exit:
        """Asked to end, and killed; tried until nothing of it is left."""
        grace_s, limit_s = self._spec.stop_grace_s, self._office.parts.deadlines.stop_s
        pause_s, most_s = AGAIN_S
        self._claim_end()
        while True:
            try:
                stopping = running.stop(self._spec.stop_signal, grace_s)
                return await called(stopping, grace_s + limit_s, "stop")
            except DriverError as exc:
                self._note(f"it could not be ended: {exc.detail}")
            grace_s = 0.0
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, most_s)

    def _claim_end(self) -> None:
        """The agent asks it to end itself; who watches over the lease has only to kill it."""
        if self.lease is not None:
            with contextlib.suppress(OSError):
                alone = replace(self.lease, stop_s=self.lease.kill_s)
                self._office.leases.keep(self.kept.id, alone)

    def _run_s(self) -> float:
        return max(0.0, self._office.boot_s() - self._began_s)

    # Going on

    def _go_on(self, decided: tuple[Kept, Next]) -> None:
        kept, then = decided
        self.kept = replace(kept, trace=None, pid=None, healthy=None)
        self._move(then.state, code=then.code, reason=then.reason)
        self._again_s = asyncio.get_running_loop().time() + then.wait_s
        self._tell()

    def _fail(self, code: str, reason: str) -> None:
        self._move("failed", code=code, reason=reason)
        self._tell()

    async def _put_away(self, work: Work | None) -> None:
        """Once the end is durable, the driver may forget it."""
        while self._says:
            await asyncio.wait(self._says)
        if work is not None:
            try:
                limit_s = self._office.parts.deadlines.remove_s
                await called(self._driver.remove(work), limit_s, "remove")
            except DriverError as exc:
                log.warning(
                    "what a task has left can't be removed",
                    extra={"task": self.kept.id, "error": exc.detail},
                )

    def _move(self, state: str, **more: Any) -> None:
        self.kept = self.kept.moved(state, self._office.now_ms(), **more)

    def _note(self, reason: str) -> None:
        """In the same state; the next report says it."""
        log.warning("a task does not go on", extra={"task": self.kept.id, "reason": reason})
        self.kept = replace(self.kept, reason=reason[: engine.REASON_CHARS])
        self._office.changed()

    def _later(self) -> None:
        """Tells the state unless it is passed soon."""
        if self._quiet is None:
            self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self._tell)

    def _tell(self) -> None:
        """The state as it is now, once, behind what was told before."""
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        kept, self.kept = self.kept, self.kept.spoken()
        task = asyncio.get_running_loop().create_task(self._say(kept), name=f"event of {kept.id}")
        self._says.add(task)
        task.add_done_callback(self._says.discard)

    async def _say(self, kept: Kept) -> None:
        async with self._saying:
            await self._office.tell(kept)
