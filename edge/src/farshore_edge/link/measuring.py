"""Measures the link to the center once in a while, and tells what any test of it has found (``evt/link``).

The center reckons with it what moving a task's data costs. When no measurement is wanted
(``link_every_s`` 0), only what a person's ``link-test`` finds is told.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from farshore_protocol.commands.catalogue import LinkTestArgs
from farshore_protocol.commands.catalogue.network import LinkTestResult
from farshore_protocol.messages import LinkMeasured

from farshore_edge.commands.verbs.model import Outcome
from farshore_edge.link.rates import joined, measured, next_bytes

log = logging.getLogger(__name__)

FIRST_S = 300.0
"""After a start, half to one and a half of this passes first: a fleet that starts at once does not
measure at once."""
AGAIN_S = 60.0
"""After a measurement that did not come to its end."""

Tell = Callable[[str, str, dict[str, Any]], Awaitable[int]]
"""Appends a record to a stream: its name, the topic below the node, the body."""


class LinkMeasuring:
    """``every_s``: 0: never by itself; ``most_bytes``: of one measurement, in each direction; ``idle``:
    whether nothing waits for the link: a backlog's rate would be missing in what is measured."""

    def __init__(
        self,
        test: Callable[[LinkTestArgs], Awaitable[Outcome]],
        tell: Tell,
        *,
        every_s: float,
        most_bytes: int,
        spread: Callable[[], float],
        idle: Callable[[], bool],
    ) -> None:
        """``test``: what it finds comes to ``found`` before it ends."""
        self._test = test
        self._tell = tell
        self._every_s = every_s
        self._most_bytes = most_bytes
        self._spread = spread
        self._idle = idle
        self._own: LinkTestResult | None = None
        self._measuring = False
        self._telling: set[asyncio.Task[None]] = set()
        self.word: LinkMeasured | None = None
        """What is known since the start."""

    def found(self, result: LinkTestResult) -> None:
        """A test has come to its end, by whoever it was asked for. Never blocks."""
        if self._measuring:
            self._own = result
            return
        word = measured(result)
        if word is None:
            return
        task = asyncio.create_task(self._say(word), name="what a test of the link found")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def run(self) -> None:
        if not self._every_s:
            return
        wait_s = min(FIRST_S, self._every_s) * (0.5 + self._spread())
        while True:
            await asyncio.sleep(wait_s)
            if not self._idle():
                wait_s = min(AGAIN_S, self._every_s)
                continue
            well = await self.measure()
            wait_s = self._every_s if well else min(AGAIN_S, self._every_s)

    async def measure(self) -> bool:
        """Whether it came to its end; then it was told."""
        self._measuring = True
        word: LinkMeasured | None = None
        try:
            for way in ("up", "down"):
                found = await self._direction(way)
                if found is None:
                    return False
                word = joined(word, found)
        finally:
            self._measuring = False
        if word is not None:
            await self._say(word)
        return True

    async def _direction(self, way: str) -> LinkMeasured | None:
        """Step by step; None where one did not come to its end."""
        flow, spent, word = None, 0, None
        while size := next_bytes(flow, spent, self._most_bytes):
            self._own = None
            asked = LinkTestArgs(count=3, bytes=size, direction=way, seconds=10)  # type: ignore[arg-type] # up, down
            outcome = await self._test(asked)
            if outcome.state != "succeeded" or self._own is None:
                return None
            spent += size
            flow = getattr(self._own, way)
            found = measured(self._own)
            if found is None:
                return None
            word = joined(word, found)
        return word

    async def _say(self, word: LinkMeasured) -> None:
        self.word = joined(self.word, word)
        told = {name: value for name, value in asdict(word).items() if value is not None}
        try:
            await self._tell("events", "evt/link", {"data": told})
        except Exception:  # the next one is told
            log.exception("what was measured of the link could not be told")
