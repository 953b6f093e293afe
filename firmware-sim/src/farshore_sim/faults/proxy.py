"""A TCP proxy whose link can be cut and healed: what a bad uplink does, without touching the machine.

Cut: every connection through it is reset, and new ones are refused until it is healed. It does not
delay, drop or change bytes.
"""

import asyncio
import contextlib
import functools
import socket
import struct

from farshore_sim.ports import LOOPBACK, hold, number

_CHUNK_BYTES = 65_536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class TcpProxy:
    """Forwards from ``port`` on loopback to the target. One owner calls it, one call at a time."""

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None
        self._links: set[asyncio.Task[None]] = set()
        self._cuts = 0
        self._port = 0

    @property
    def port(self) -> int:
        return self._port

    @property
    def connections(self) -> int:
        """Connections through it, and those that are still dialling the target."""
        return len(self._links)

    async def start(self) -> None:
        await self.heal()

    async def heal(self) -> None:
        """Listens again, on the same port."""
        if self._server is not None:
            return
        if self._held is None:
            # While the link is cut nobody listens: without this, any program could get the port.
            self._held = hold(self._port)
            self._port = number(self._held)
        serve = functools.partial(self._serve, self._cuts)
        self._server = await asyncio.start_server(serve, LOOPBACK, self._port)

    async def cut(self) -> None:
        """Resets what is open and refuses what comes."""
        self._cuts += 1
        if self._server is not None:
            self._server.close()
            self._server = None
        links = list(self._links)
        for link in links:
            link.cancel()
        if links:
            await asyncio.wait(links)

    async def stop(self) -> None:
        """Cut, for good; the port is anybody's."""
        await self.cut()
        if self._held is not None:
            self._held.close()
            self._held = None

    async def _serve(
        self, cuts: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if cuts != self._cuts:  # accepted just before a cut
            await _reset(writer)
            return
        task = asyncio.current_task()
        if task is not None:
            self._links.add(task)
            task.add_done_callback(self._links.discard)
        with contextlib.suppress(
            asyncio.CancelledError
        ):  # by a cut; the stream server would log it
            await self._forward(reader, writer)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
            ends.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(reader, far_writer))
                both.create_task(_pump(far_reader, writer))
            for end in ends:
                end.close()
                await end.wait_closed()
        except* OSError:
            pass  # an end was reset, or the target can't be reached: the other end is told below
        finally:
            for end in ends:
                await _reset(end)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction, to its end; the other one may go on."""
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


async def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes at once, with a reset where it is still open."""
    with contextlib.suppress(OSError):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
