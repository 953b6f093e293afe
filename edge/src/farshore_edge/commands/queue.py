"""Who runs now and who waits for a place: a lane for what only asks, one for what does something.

A ``ping`` never waits behind an ``exec`` that takes an hour. Within a lane who came first goes first.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from farshore_edge.commands.policy import Accepted

Waits = Callable[[int], Awaitable[None]]
"""Called with how many are ahead when a command has waited ``patience_s`` for its place."""


class Lane:
    """So many ``places`` at once."""

    def __init__(self, places: int, *, patience_s: float) -> None:
        self._free = places
        self._patience_s = patience_s
        self._waiting: dict[str, asyncio.Event] = {}

    def waiting(self) -> list[str]:
        """Ids of those that wait; the first is the next."""
        return list(self._waiting)

    @contextlib.asynccontextmanager
    async def place(self, command_id: str, waits: Waits) -> AsyncIterator[None]:
        await self._enter(command_id, waits)
        try:
            yield
        finally:
            self._free += 1
            self._call_next()

    async def _enter(self, command_id: str, waits: Waits) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        mine = self._waiting[command_id] = asyncio.Event()
        try:
            try:
                async with asyncio.timeout(self._patience_s):
                    await mine.wait()
            except TimeoutError:
                # Without a place still, unless it came at this very moment.
                if not mine.is_set():
                    await waits(self.waiting().index(command_id))
                await mine.wait()
        except BaseException:
            if mine.is_set():  # the place was given already
                self._free += 1
            self._waiting.pop(command_id, None)
            self._call_next()
            raise

    def _call_next(self) -> None:
        while self._free and self._waiting:
            self._waiting.pop(next(iter(self._waiting))).set()
            self._free -= 1


class Lanes:
    """``at_once``: places in each lane."""

    def __init__(self, at_once: int, *, patience_s: float) -> None:
        self._asking = Lane(at_once, patience_s=patience_s)
        self._doing = Lane(at_once, patience_s=patience_s)

    def place(
        self, verdict: Accepted, command_id: str, waits: Waits
    ) -> contextlib.AbstractAsyncContextManager[None]:
        if not verdict.verb.queued:
            return contextlib.nullcontext()
        lane = self._asking if verdict.risk == "read" else self._doing
        return lane.place(command_id, waits)

    def waiting(self) -> list[str]:
        return [*self._asking.waiting(), *self._doing.waiting()]
