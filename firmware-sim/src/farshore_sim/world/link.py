"""A ``Link`` over the world's bus: connects, and connects again, as the real one does."""

import asyncio
import contextlib
import random
from contextvars import Context, copy_context

from farshore_protocol.clock import Clock
from farshore_protocol.link import BackoffSettings, Message
from farshore_protocol.link.backoff import Backoff
from farshore_protocol.link.model import LinkHandler, tell

from farshore_sim.world.bus import Connection, WorldBus

FAREWELL_S = 2.0


class WorldLink:
    """``wire`` names the line: faults happen to lines, whoever uses them."""

    def __init__(
        self,
        bus: WorldBus,
        wire: str,
        *,
        clock: Clock,
        rng: random.Random,
        backoff: BackoffSettings | None = None,
    ) -> None:
        self._bus = bus
        self.wire = wire
        self._clock = clock
        self._backoff = Backoff(backoff or BackoffSettings(), rng)
        self._context: Context = copy_context()
        self._connection: Connection | None = None
        self._ended: asyncio.Future[str] | None = None
        self._handler: LinkHandler | None = None
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._running = False

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def run(self, handler: LinkHandler) -> None:
        self._context = copy_context()
        self._handler = handler
        self._running = True
        conn = 0
        try:
            while not self._closing.is_set():
                conn += 1
                wait_s = self._backoff.failed(up_s=await self._serve_once(handler, conn))
                if not self._closing.is_set():
                    await self._pause(wait_s)
        finally:
            self._finished.set()

    async def _serve_once(self, handler: LinkHandler, conn: int) -> float:
        """One connection; how many seconds it was up."""
        connection = await self._bus.connect(self, handler.session(conn))
        if connection is None or self._closing.is_set():
            return 0.0
        since_s = self._clock.monotonic_s()
        self._ended = asyncio.get_running_loop().create_future()
        if connection.broken:
            self._ended.set_result("broken at once")
        self._connection = connection
        tell(handler.link_up, conn)
        try:
            reason = await self._ended
        except asyncio.CancelledError:
            self._bus.cut(self.wire)
            self._parted(handler, conn, "cancelled")
            raise
        self._parted(handler, conn, reason)
        return self._clock.monotonic_s() - since_s

    def _parted(self, handler: LinkHandler, conn: int, reason: str) -> None:
        self._connection = None
        tell(handler.link_down, conn, reason)

    async def _pause(self, wait_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._closing.wait()

    # Called by the bus; the process hears of it in its own turn, if it still lives

    def arrived(self, connection: Connection, message: Message) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._hand_over, connection, message, context=self._context)

    def _hand_over(self, connection: Connection, message: Message) -> None:
        if self._handler is not None and connection is self._connection:
            tell(self._handler.received, message)

    def ended(self, connection: Connection, reason: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._end, connection, reason, context=self._context)

    def _end(self, connection: Connection, reason: str) -> None:
        if connection is self._connection and self._ended is not None and not self._ended.done():
            self._ended.set_result(reason)

    # Link

    def publish(self, message: Message) -> bool:
        if self._connection is None:
            return False
        self._bus.send(self._connection, message)
        return True

    @property
    def congested(self) -> bool:
        return False

    async def close(self, farewell: Message | None = None) -> None:
        self._closing.set()
        connection = self._connection
        if connection is not None:
            if farewell is not None:
                self._bus.send(connection, farewell)
            self._bus.send(connection, None)
            try:
                async with asyncio.timeout(FAREWELL_S):
                    await connection.left.wait()
            except TimeoutError:
                self._bus.cut(self.wire)
            self._end(connection, "closed")
        if self._running:
            await self._finished.wait()

    def reconnect(self, reason: str) -> None:
        if self._connection is not None:
            self._bus.cut(self.wire)
            self._end(self._connection, reason)
