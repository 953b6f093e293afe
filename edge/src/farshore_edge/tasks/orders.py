"""What an instance is told while it lives: to end, and until when it may run."""

import asyncio
import contextlib
import logging
from dataclasses import replace
from typing import Any

from farshore_edge.tasks.account import Account
from farshore_edge.tasks.lease import Lease
from farshore_edge.tasks.office import Office

log = logging.getLogger(__name__)


class Orders:
    """``lease`` of one that has to have one. ``ends`` is set once it is to end."""

    def __init__(self, account: Account, office: Office) -> None:
        kept = account.kept
        self.lease: Lease | None = office.leases.find(kept.id) if kept.leased else None
        self.ends = asyncio.Event()
        self._renewed = asyncio.Event()
        self._account = account
        self._office = office
        if kept.stop is not None:
            self.ends.set()

    def stop(self, reason: str) -> None:
        """The first reason stays."""
        kept = self._account.kept
        if kept.stop is None and not kept.ended:
            self._account.kept = replace(kept, stop=reason)
            self.ends.set()

    def renew(self, lease: Lease) -> None:
        """From now on it may run until then; a lease that can't be kept is not renewed."""
        kept = self._account.kept
        if kept.stop is not None or (self.lease and lease.end_s <= self.lease.end_s):
            return
        try:
            self._office.folders.make(kept.id)  # it may come before anything is prepared
            self._office.leases.keep(kept.id, lease)
        except OSError as exc:
            log.error("a lease can't be kept", extra={"task": kept.id, "error": str(exc)})
            return
        self.lease = lease
        self._renewed.set()

    def lease_lasts(self) -> bool:
        return self.lease is not None and self._office.boot_s() < self.lease.stop_s

    def claim_end(self) -> None:
        """The agent asks it to end itself; who watches over the lease has only to kill it."""
        if self.lease is not None:
            with contextlib.suppress(OSError):
                alone = replace(self.lease, stop_s=self.lease.kill_s)
                self._office.leases.keep(self._account.kept.id, alone)

    # Waiting, which an order to end cuts short

    async def leased(self) -> bool:
        """Waits for a lease; False when it is to end instead."""
        while not self.lease_lasts():
            self._renewed.clear()
            if not await self.first(asyncio.ensure_future(self._renewed.wait())):
                return False
        return not self.ends.is_set()

    async def waited(self, left_s: float) -> bool:
        """A pause; False when it is to end instead."""
        if left_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self.ends.wait()
        return not self.ends.is_set()

    async def first(self, work: "asyncio.Future[Any]") -> bool:
        """Waits until it is done, or the instance is to end; whether it is done."""
        wish = asyncio.ensure_future(self.ends.wait())
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
