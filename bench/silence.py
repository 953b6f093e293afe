"""A cable that can be cut without a word: a TCP proxy that stops forwarding and closes nothing.

Neither end is told anything, as behind a router that lost its power. ``farshore_sim.faults.TcpProxy``
is the cut that both ends notice.
"""

import asyncio
import contextlib
import socket

CHUNK_BYTES = 65_536


class Cable:
    """Forwards from ``port`` on loopback to the target's port."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None
        self._links: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        sock: socket.socket = self._server.sockets[0]
        self.port = sock.getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self._drop()
        if self._links:
            await asyncio.wait(self._links)

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._whole.clear()

    def mend(self) -> None:
        """New connections pass again; those that were cut are gone."""
        self._drop()
        self._whole.set()

    def _drop(self) -> None:
        for link in self._links:
            link.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._links.add(task)
            task.add_done_callback(self._links.discard)
        writers = [writer]
        with contextlib.suppress(asyncio.CancelledError, OSError, ExceptionGroup):
            await self._whole.wait()
            far, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
            writers.append(far_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer))
                both.create_task(self._pump(far, writer))
        for end in writers:
            end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await self._whole.wait()
            writer.write(data)
            await writer.drain()
        await self._whole.wait()
        raise ConnectionResetError("an end has closed")
