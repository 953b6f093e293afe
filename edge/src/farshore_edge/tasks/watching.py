"""A run until its end: by itself, because it is to end, or because it is not well."""

import asyncio
from dataclasses import replace
from typing import Any

from farshore_edge.tasks import checking, engine
from farshore_edge.tasks.account import Account
from farshore_edge.tasks.drivers.model import DriverError, Exit, Running, Work
from farshore_edge.tasks.office import Office, called
from farshore_edge.tasks.orders import Orders


class Watching:
    """``running``: what runs now."""

    def __init__(self, account: Account, orders: Orders, office: Office) -> None:
        self.running: Running | None = None
        self._account = account
        self._orders = orders
        self._office = office
        self._spec = account.kept.grant.spec

    async def watch(self, running: Running, work: Work) -> None:
        """The state says how it goes on."""
        self.running = running
        try:
            await self._watched(running, work)
        finally:
            self.running = None

    async def _watched(self, running: Running, work: Work) -> None:
        waiting = asyncio.ensure_future(running.wait())
        asking = self._asking(work)
        wish = asyncio.ensure_future(self._orders.ends.wait())
        if asking is None and self._account.kept.state == "starting":
            self._account.running()
        watched: set[asyncio.Future[Any]] = {waiting, wish}
        watched |= {asking} if asking is not None else set()
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in watched:
                each.cancel()
                each.add_done_callback(lambda done: done.cancelled() or done.exception())
        if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
            self._by_itself(waiting.result())
        elif self._orders.ends.is_set():
            await self._stop(running)
        else:
            await self._sick(running, _trouble(asking, waiting))

    def _asking(self, work: Work) -> "asyncio.Future[str] | None":
        check = self._spec.health
        if check is None or self._account.kept.stop is not None:
            return None
        return asyncio.ensure_future(
            checking.sick(check, self._office.parts.probe, work, told=self._health)
        )

    def _health(self, healthy: bool, started: bool) -> None:
        account = self._account
        before = account.kept.healthy
        account.kept = replace(account.kept, healthy=healthy)
        if account.kept.state == "starting" and started:
            account.running()
        elif before is not healthy:
            self._office.changed()

    def _by_itself(self, end: Exit) -> None:
        """It has ended without being asked to; a lease that is over was the reason."""
        account, office, run_s = self._account, self._office, self._account.run_s()
        if account.kept.leased and not self._orders.lease_lasts() and account.kept.stop is None:
            self._orders.stop("lease_over")
        if account.kept.stop is not None:
            self._stopped(end, run_s)
            return
        kept, then = engine.after_end(account.kept, end, run_s=run_s, now_ms=office.now_ms())
        if then.state == "succeeded":
            result, why = office.folders.read_result(kept.id)
            kept, then = replace(kept, result=result), replace(then, reason=why)
        account.go_on((kept, then))

    async def _sick(self, running: Running, trouble: DriverError) -> None:
        """It is ended so that it can be begun again."""
        account = self._account
        account.kept = replace(account.kept, healthy=False)
        end = await self._ended(running)
        run_s, now_ms = account.run_s(), self._office.now_ms()
        if account.kept.stop is not None:
            self._stopped(end, run_s)
            return
        kept = replace(account.kept, exit_code=end.exit_code, signal=end.signal, run_s=run_s)
        account.go_on(engine.after_trouble(kept, trouble, run_s=run_s, now_ms=now_ms))

    async def _stop(self, running: Running) -> None:
        account = self._account
        if account.kept.state != "stopping":
            account.move("stopping", code=account.kept.stop)
            account.later()
        end = await self._ended(running)
        self._stopped(end, account.run_s())

    def _stopped(self, end: Exit, run_s: float) -> None:
        how = {"exit_code": end.exit_code, "signal": end.signal, "run_s": round(run_s, 3)}
        self._account.stopped(**how)

    async def _ended(self, running: Running) -> Exit:
        """Asked to end, and killed; tried until nothing of it is left."""
        limits, grace_s = self._office.parts.deadlines, self._spec.stop_grace_s
        pause_s = limits.again_s
        self._orders.claim_end()
        while True:
            try:
                stopping = running.stop(self._spec.stop_signal, grace_s)
                return await called(stopping, grace_s + limits.stop_s, "stop")
            except DriverError as exc:
                self._account.note(f"it could not be ended: {exc.detail}")
            grace_s = 0.0
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, limits.again_max_s)


def _trouble(asked: "asyncio.Future[str] | None", waiting: "asyncio.Future[Exit]") -> DriverError:
    """Why a run that nobody wants to end is not well."""
    if asked is not None and asked.done() and not asked.cancelled():
        broke = asked.exception()
        return DriverError("unhealthy", asked.result() if broke is None else str(broke))
    failed = waiting.exception() if not waiting.cancelled() else None
    if isinstance(failed, DriverError):
        return DriverError(failed.code, failed.detail)
    return DriverError("broken", str(failed))
