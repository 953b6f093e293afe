"""The life of one instance at its node: begins it, watches it, begins it again, ends it.

What follows from what is decided by ``engine.py``. A keeper that is cancelled (the agent stops) ends
nothing: what runs is taken up by the next agent.
"""

import asyncio

from farshore_edge.tasks.account import Account
from farshore_edge.tasks.beginning import Beginning
from farshore_edge.tasks.drivers.model import Running
from farshore_edge.tasks.model import Kept
from farshore_edge.tasks.office import Office
from farshore_edge.tasks.orders import Orders
from farshore_edge.tasks.watching import Watching


class Keeper:
    """``orders``: what it is told."""

    def __init__(self, kept: Kept, office: Office, *, recovered: bool = False) -> None:
        """``recovered``: an earlier agent may have begun it."""
        self._account = Account(kept, office)
        self.orders = Orders(self._account, office)
        self._beginning = Beginning(self._account, self.orders, office)
        self._watching = Watching(self._account, self.orders, office)
        self._recovered = recovered

    @property
    def kept(self) -> Kept:
        """As it stands now."""
        return self._account.kept

    @property
    def running(self) -> Running | None:
        return self._watching.running

    def note(self, reason: str) -> None:
        """Says why it does not go on, in the same state."""
        self._account.note(reason)

    async def run(self) -> None:
        """Until it has ended for good and that is durable."""
        try:
            await self._live()
        finally:
            self._account.hush()
        await self._account.said()

    async def _live(self) -> None:
        account = self._account
        if not await self._beginning.has_driver():
            return
        begun = await self._beginning.taken_up() if self._recovered else None
        while not self.kept.ended:
            if begun is not None:
                await self._watching.watch(*begun)
                await self._beginning.put_away(begun[1])
                begun = None
            elif self.kept.stop is not None:
                account.stopped()
            elif self.kept.state == "backing_off" and not await self._waited():
                continue
            else:
                begun = await self._beginning.begin()

    async def _waited(self) -> bool:
        """The pause before the next start; False when it is to end instead."""
        return await self.orders.waited(self._account.again_s - asyncio.get_running_loop().time())
