"""A TCP proxy that is a bad link: cut, half-open, stalled, slow, late, torn; and well again.

It does what a bad uplink does, without touching the machine's network. Faults are put on and taken off
while connections are open, for each direction, any of them together; what they mean for the bytes is
decided in ``link_faults.py``. No fault changes a byte.
"""

import asyncio
import contextlib
import enum
import functools
import random
import socket
import struct
from collections.abc import Iterable, Iterator

from farshore_sim.faults.lane import CHUNK_BYTES, Lane, Way
from farshore_sim.faults.link_faults import Direction, HalfOpen, LinkFault, Schedule, Shape
from farshore_sim.ports import LOOPBACK, hold, number

BUFFER_BYTES = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Reception(enum.Enum):
    """What becomes of new connections; open ones are not touched."""

    FORWARD = "forward"
    REFUSE = "refuse"
    SILENT = "silent"
    """Accepted, and never a word: what they say goes nowhere."""


class _Link:
    """One connection through the proxy."""

    def __init__(self, task: asyncio.Task[None]) -> None:
        self.task = task
        self.lanes: dict[Direction, Lane] = {}


class TcpProxy:
    """Forwards from ``port`` of ``host`` to the target. One owner calls it, one call at a time.

    ``buffer_bytes``: what it holds of each direction of a connection, about; beside it only what the
    kernel's sockets and two reads hold.
    """

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        host: str = LOOPBACK,
        port: int = 0,
        seed: int = 1,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        self._target = (target_host, target_port)
        self._host = host
        self._port = port
        self._rng = random.Random(seed)  # noqa: S311 - replayable, not secret
        self._buffer_bytes = buffer_bytes
        self._ways = {Direction.UP: Way(), Direction.DOWN: Way()}
        self._reception = Reception.FORWARD
        self._cut = True
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._links: set[_Link] = set()
        self._mute: set[asyncio.Task[None]] = set()
        self._cuts = 0

    @property
    def port(self) -> int:
        return self._port

    @property
    def is_cut(self) -> bool:
        return self._cut

    @property
    def reception(self) -> Reception:
        return self._reception

    @property
    def connections(self) -> int:
        """Connections through it, and those that are still dialling the target."""
        return len(self._links)

    @property
    def held_bytes(self) -> int:
        """What it has read and not passed on, of all connections."""
        lanes = (lane for link in self._links for lane in link.lanes.values())
        return sum(lane.held_bytes for lane in lanes)

    async def start(self) -> None:
        await self.heal()

    async def heal(self) -> None:
        """Listens again, on the same port; faults stay as they are."""
        self._cut = False
        if self._held is None:
            # While the link is cut nobody listens: without this, any program could get the port.
            self._held = hold(self._port, self._host)
            self._port = number(self._held)
        await self._listen()

    async def cut(self) -> None:
        """Resets what is open and refuses what comes."""
        self._cuts += 1
        self._cut = True
        await self._listen()
        await self._reset(link.task for link in self._links)
        await self._reset(self._mute)

    async def stop(self) -> None:
        """Cut, for good; the port is anybody's."""
        await self.cut()
        if self._held is not None:
            self._held.close()
            self._held = None

    # Faults

    def shape(self, direction: Direction) -> Shape:
        """The faults of one direction."""
        return self._ways[direction].shape

    def put(self, fault: LinkFault, direction: Direction = Direction.BOTH) -> None:
        """From now on, for open and new connections, in place of one of its kind."""
        for each in direction:
            way = self._ways[each]
            way.become(way.shape.put(fault))

    def take(self, kind: type[LinkFault], direction: Direction = Direction.BOTH) -> None:
        """Without faults of this kind; connections that lost bytes to it are reset."""
        for each in direction:
            way = self._ways[each]
            way.become(way.shape.without(kind))
            if kind is HalfOpen:
                self._reset_lossy(each)

    def clear(self) -> None:
        """Without any fault; what is cut or not received stays so."""
        for direction, way in self._ways.items():
            way.become(Shape())
            self._reset_lossy(direction)

    @contextlib.contextmanager
    def faulty(self, *faults: LinkFault, direction: Direction = Direction.BOTH) -> Iterator[None]:
        """The faults are there inside of the block."""
        for fault in faults:
            self.put(fault, direction)
        try:
            yield
        finally:
            for fault in faults:
                self.take(type(fault), direction)

    async def receive(self, reception: Reception) -> None:
        """What becomes of new connections from now on; those that met silence are reset."""
        self._reception = reception
        await self._reset(self._mute)
        if self._held is not None:
            await self._listen()

    def _reset_lossy(self, direction: Direction) -> None:
        for link in self._links:
            if direction in link.lanes and link.lanes[direction].lost:
                link.task.cancel()

    # Connections

    async def _listen(self) -> None:
        """Listens or does not, as it should now."""
        wanted = not self._cut and self._reception is not Reception.REFUSE
        if not wanted and self._server is not None:
            self._server.close()
            self._server = None
        elif wanted and self._server is None:
            serve = functools.partial(self._serve, self._cuts)
            self._server = await asyncio.start_server(serve, self._host, self._port)

    async def _reset(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        ended = list(tasks)
        for task in ended:
            task.cancel()
        if ended:
            await asyncio.wait(ended)

    async def _serve(
        self, cuts: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        if cuts != self._cuts or task is None:  # accepted just before a cut
            await _reset(writer)
            return
        with contextlib.suppress(
            asyncio.CancelledError
        ):  # by a cut; the stream server would log it
            if self._reception is Reception.SILENT:
                self._mute.add(task)
                task.add_done_callback(self._mute.discard)
                await _ignore(reader, writer)
                return
            link = _Link(task)
            self._links.add(link)
            task.add_done_callback(lambda _: self._links.discard(link))
            await self._forward(link, reader, writer)

    async def _forward(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            ends.append(far_writer)
            up = self._lane(Direction.UP, reader, far_writer)
            down = self._lane(Direction.DOWN, far_reader, writer)
            link.lanes = {Direction.UP: up, Direction.DOWN: down}
            async with asyncio.TaskGroup() as both:
                both.create_task(up.run(back=down))
                both.create_task(down.run(back=up))
            for end in ends:
                end.close()
                await end.wait_closed()
        except* OSError:
            pass  # an end was reset, or the target can't be reached: the other end is told below
        finally:
            await _reset(*ends)

    def _lane(
        self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Lane:
        schedule = Schedule(random.Random(self._rng.random()))  # noqa: S311 - replayable
        way = self._ways[direction]
        return Lane(way, schedule, reader, writer, buffer_bytes=self._buffer_bytes)


async def _ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the other end goes, which it is not told either."""
    try:
        with contextlib.suppress(OSError):
            while await reader.read(CHUNK_BYTES):
                pass
    finally:
        await _reset(writer)


async def _reset(*writers: asyncio.StreamWriter) -> None:
    """Closes at once, with a reset where it is still open; all of them, also when it is cancelled."""
    for writer in writers:
        with contextlib.suppress(OSError):
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()
    for writer in writers:
        with contextlib.suppress(OSError):
            await writer.wait_closed()
