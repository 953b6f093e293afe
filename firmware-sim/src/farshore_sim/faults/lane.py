"""One direction of one proxied connection: moves the bytes as the schedule decides.

It holds a bounded number of bytes; when it is full it does not read, so that the sender's own TCP
feels it. What becomes of the connection when a direction breaks is its caller's matter
(``proxy.py``).
"""

import asyncio
import contextlib
from collections import deque

from farshore_sim.faults.link_faults import Fate, Schedule, Shape, Step, TornCut

CHUNK_BYTES = 65_536
CHUNK_COST_BYTES = 64
"""What a chunk costs beside its bytes: many tiny ones must not escape the bound."""


class Way:
    """The faults of one direction of a proxy, and word of their changes to those who wait."""

    def __init__(self) -> None:
        self.shape = Shape()
        self._changed = asyncio.Event()

    def become(self, shape: Shape) -> None:
        self.shape = shape
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self, within_s: float | None) -> None:
        """Returns when the faults change, or when the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._changed.wait()


class Lane:
    """``lost``: bytes or the end of the stream went nowhere; ``ended``: nothing more will come."""

    def __init__(
        self,
        way: Way,
        schedule: Schedule,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        buffer_bytes: int,
    ) -> None:
        self.lost = False
        self.ended = False
        self.held_bytes = 0
        self._way = way
        self._schedule = schedule
        self._reader = reader
        self._writer = writer
        self._buffer_bytes = buffer_bytes
        self._waiting: deque[tuple[float, bytes]] = deque()
        """What has been read, each with the time when it is due; empty bytes are the end."""
        self._room = asyncio.Event()
        self._arrived = asyncio.Event()
        self._deaf = False

    async def run(self, back: "Lane") -> None:
        """Until the stream has ended. ``back``: the other direction of the same connection.

        Raises ConnectionResetError, in a group, when the connection is to be reset.
        """
        async with asyncio.TaskGroup() as both:
            both.create_task(self._read())
            both.create_task(self._deliver_all(back))
        self.ended = True

    async def _read(self) -> None:
        try:
            while data := await self._reader.read(CHUNK_BYTES):
                self._hold(data)
                while self.held_bytes >= self._buffer_bytes:
                    self._room.clear()
                    await self._room.wait()
        except OSError as exc:  # a reset does not wait behind bytes that nobody reads
            await _until(self._due_s())
            if await self._may_end():
                raise ConnectionResetError("an end was reset") from exc
        self._hold(b"")

    def _due_s(self) -> float:
        return self._schedule.due_s(self._way.shape, _now_s())

    def _hold(self, data: bytes) -> None:
        self._waiting.append((self._due_s(), data))
        self.held_bytes += len(data) + CHUNK_COST_BYTES
        self._arrived.set()

    async def _deliver_all(self, back: "Lane") -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            due_s, data = self._waiting[0]
            await _until(due_s)
            if not data:
                break
            await self._deliver(data, back)
            self._waiting.popleft()
            self.held_bytes -= len(data) + CHUNK_COST_BYTES
            self._room.set()
        if await self._may_end() and not self._deaf:
            with contextlib.suppress(OSError):
                self._writer.write_eof()

    async def _may_end(self) -> bool:
        """Whether the end of the stream is told to the other side; waits while nothing passes."""
        while self._way.shape.stall is not None and self._way.shape.half_open is None:
            await self._way.changed(None)
        if self._way.shape.half_open is not None:
            self.lost = True
        return not self.lost

    async def _deliver(self, data: bytes, back: "Lane") -> None:
        rest = memoryview(data)
        while rest and not self.lost:  # behind a hole nothing may come
            step = self._schedule.step(self._way.shape, len(rest), _now_s())
            match step.fate:
                case Fate.WAIT:
                    await self._way.changed(step.wait_s)
                    continue
                case Fate.SWALLOW:
                    self.lost = True
                case Fate.SEND | Fate.RESET:
                    await self._send(rest[: step.size], back)
                    self._count(step)
            rest = rest[step.size :]

    async def _send(self, data: memoryview, back: "Lane") -> None:
        if self._deaf or not data:
            return
        try:
            self._writer.write(bytes(data))
            await self._writer.drain()
        except OSError:
            # Its reader hears of it too, and tells the other end as the faults allow; unless it is
            # through already.
            if back.ended and not back.lost:
                raise
            self._deaf = True

    def _count(self, step: Step) -> None:
        shape = self._way.shape
        if shape.torn_cut is not None:
            shape = shape.sent(step.size)
            if step.fate is not Fate.RESET:
                self._way.become(shape)
        if step.fate is Fate.RESET:
            self._way.become(shape.without(TornCut))
            raise ConnectionResetError("a torn cut")


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _until(due_s: float) -> None:
    wait_s = due_s - _now_s()
    if wait_s > 0:
        await asyncio.sleep(wait_s)
