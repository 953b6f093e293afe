"""Bytes to and from one client, over TCP.

A channel collects what arrives until it is read, and lets the sender feel it when that is much;
it joins what is written within one turn of the event loop into one write. It does not know MQTT.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Protocol, cast

from farshore_center.broker.model import TransportName

READ_HIGH_BYTES = 128 * 1024
WRITE_HIGH_BYTES = 32 * 1024
WRITE_LOW_BYTES = 8 * 1024
LINGER_S = 5.0


class Channel(Protocol):
    """What a connection needs of its transport."""

    @property
    def transport_name(self) -> TransportName: ...

    @property
    def remote(self) -> str: ...

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate (DER), proven in this very connection."""

    @property
    def last_input(self) -> float:
        """When bytes came in last, on the event loop's clock."""

    @property
    def server_stops(self) -> bool:
        """Whether it ended because our own server stops: then the client has not died."""

    @property
    def closed(self) -> bool:
        """Whether what is written is lost."""

    @property
    def congested(self) -> bool:
        """Whether the peer reads more slowly than we write."""

    def on_writable(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever the channel stops being congested, and when it is lost."""

    async def read(self) -> bytes:
        """What has arrived; waits for something; empty: the peer is gone."""

    def write(self, data: bytes) -> None:
        """Never waits. What is written to a closed channel is lost."""

    def close(self) -> None:
        """Send what is written, then close."""

    def abort(self) -> None:
        """Close at once."""


class TcpChannel(asyncio.Protocol):
    """A channel over a TCP (or TLS) connection. asyncio sets TCP_NODELAY by itself."""

    transport_name: TransportName = "tcp"
    server_stops = False

    def __init__(
        self, opened: Callable[["TcpChannel"], None], lost: Callable[["TcpChannel"], None]
    ) -> None:
        self._opened = opened
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._input: list[bytes] = []
        self._input_bytes = 0
        self._reading_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._writable: Callable[[], None] = _nothing
        self.closed = False
        self._lingering: asyncio.TimerHandle | None = None
        self.lost = asyncio.Event()
        """Set when the socket is closed indeed, with what was written sent or given up."""
        self.congested = False
        self.last_input = self._loop.time()
        self.remote = "?"
        self.certificate: bytes | None = None

    def on_writable(self, callback: Callable[[], None]) -> None:
        self._writable = callback

    async def read(self) -> bytes:
        while not self._input:
            if self.closed:
                return b""
            self._reader = self._loop.create_future()
            await self._reader
        data = self._input[0] if len(self._input) == 1 else b"".join(self._input)
        self._input.clear()
        self._input_bytes = 0
        if self._reading_paused and self._transport is not None and not self.closed:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    def write(self, data: bytes) -> None:
        if self.closed:
            return
        if not self._output:
            self._loop.call_soon(self._flush)
        self._output.append(data)
        self._output_bytes += len(data)
        if self._output_bytes >= WRITE_HIGH_BYTES:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._end()
        if self._transport is not None:
            self._transport.close()
            if self._transport.get_write_buffer_size():
                # A peer that does not read must not keep the socket for ever.
                self._lingering = self._loop.call_later(LINGER_S, self._transport.abort)

    def abort(self) -> None:
        self._end()
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES, low=WRITE_LOW_BYTES)
        peer = transport.get_extra_info("peername")
        if peer:
            self.remote = f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"
        handle = transport.get_extra_info("socket")
        if handle is not None:
            # For clients without an MQTT keep-alive: a dead host is noticed in the end.
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        self.last_input = self._loop.time()
        self._input.append(data)
        self._input_bytes += len(data)
        if self._input_bytes >= READ_HIGH_BYTES and self._transport is not None:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake_reader()

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        self._writable()

    def connection_lost(self, _exc: Exception | None) -> None:
        # What arrived before the end stays readable: a client may publish and leave at once.
        if self._lingering is not None:
            self._lingering.cancel()
        self._end()
        self.lost.set()
        self._lost(self)

    def _end(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._output.clear()
        self._output_bytes = 0
        self.congested = False
        self._wake_reader()
        self._writable()

    def _flush(self) -> None:
        if self._output and not self.closed and self._transport is not None:
            data = self._output[0] if len(self._output) == 1 else b"".join(self._output)
            self._output.clear()
            self._output_bytes = 0
            self._transport.write(data)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


def _nothing() -> None:
    """Nobody wants to know yet."""
