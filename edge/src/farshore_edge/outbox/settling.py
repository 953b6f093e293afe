"""Deletes what the center has acknowledged, much of it in one write. It does not decide what that is."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from farshore_protocol.messages import CenterMark
from farshore_protocol.stream import RangeSet

from farshore_edge.database import Change
from farshore_edge.outbox.journal import Journal


class Settling:
    def __init__(
        self,
        journal: Journal,
        *,
        settle_s: float,
        spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"],
        obeyed: Callable[[], CenterMark | None],
    ) -> None:
        """``settle_s``: how long acknowledged records may wait to be deleted together. ``obeyed``: the mark
        of the center that has acknowledged; it is written with what is deleted by its word, or a power
        loss could take the evidence and leave the deletion."""
        self._obeyed = obeyed
        self._journal = journal
        self._settle_s = settle_s
        self._spawn = spawn
        self._gone: dict[str, RangeSet] = {}
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    async def settle(self, stream: str, ranges: RangeSet) -> None:
        """Returns once they are deleted, at once when they may wait."""
        self._gone.setdefault(stream, RangeSet()).update(ranges)
        if self._task is None or self._task.done():
            self._task = self._spawn(self._settle())
        if not self._settle_s:
            await asyncio.shield(self._task)

    async def _settle(self) -> None:
        while self._gone:
            if self._settle_s and not self._hurry.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settle_s):
                        await self._hurry.wait()
            gone, self._gone = self._gone, {}
            ranges = [(stream, a, b) for stream, parts in gone.items() for a, b in parts]
            await self._journal.write(Change(settled=ranges, center=self._obeyed()))

    def hurry(self) -> None:
        """Nothing waits to be deleted together any more."""
        self._hurry.set()
