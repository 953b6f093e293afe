"""MQTT over WebSocket, on the center's web port, through the same broker.

A WebSocket is one more channel: the same connection, gate, bounds and counters. It does not know
MQTT. Messages need not align with packets (MQTT 6.0); their size is bounded by the web server.
"""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from farshore_center.broker.channel import (
    LINGER_S,
    READ_HIGH_BYTES,
    WRITE_HIGH_BYTES,
    WRITE_LOW_BYTES,
)
from farshore_center.broker.embedded import EmbeddedBroker
from farshore_center.broker.errors import PeerError
from farshore_center.broker.model import TransportName

SUBPROTOCOL = "mqtt"
_NORMAL, _NOT_MQTT, _SERVICE_RESTART = 1000, 1002, 1012


def websocket_route(broker: EmbeddedBroker) -> Callable[[WebSocket], Awaitable[None]]:
    """The endpoint to mount; it insists on the subprotocol ``mqtt`` (MQTT-6.0.0-3)."""

    async def endpoint(websocket: WebSocket) -> None:
        if not _is_ours(websocket) or SUBPROTOCOL not in websocket.scope.get("subprotocols", ()):
            await websocket.close(_NOT_MQTT)
            return
        await websocket.accept(subprotocol=SUBPROTOCOL)
        channel = WebSocketChannel(websocket)
        async with asyncio.TaskGroup() as pumps:
            receiving = pumps.create_task(channel.receive_all())
            sending = pumps.create_task(channel.send_all())
            try:
                await broker.serve(channel)
                async with asyncio.timeout(LINGER_S):
                    await sending
            except TimeoutError:
                sending.cancel()  # it does not read
            finally:
                channel.abort()
                receiving.cancel()
        if websocket.application_state is not WebSocketState.DISCONNECTED and not channel.lost:
            await websocket.close(_NORMAL)

    return endpoint


def _is_ours(websocket: WebSocket) -> bool:
    """Whether no page of another site opened this: a browser says where the page is from.

    Without this, any page that a person visits could reach a center on that person's machine.
    """
    origin = websocket.headers.get("origin")
    return origin is None or urlsplit(origin).hostname == websocket.url.hostname


class WebSocketChannel:
    """A channel over an accepted WebSocket; two tasks pump for it."""

    transport_name: TransportName = "websocket"
    certificate: bytes | None = None
    """The web server does not hand over what it knows of TLS."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._loop = asyncio.get_running_loop()
        self._input = bytearray()
        self._arrived = asyncio.Event()
        self._taken = asyncio.Event()
        self._output = bytearray()
        self._unsent = 0
        self._written = asyncio.Event()
        self._writable: Callable[[], None] = lambda: None
        self._closing = False
        self._not_binary = False
        self.lost = False
        """Whether the peer has left: there is nobody to say good-bye to."""
        self.server_stops = False
        self.congested = False
        self.last_input = self._loop.time()
        peer = websocket.client
        self.remote = f"{peer.host}:{peer.port}" if peer else "?"

    @property
    def closed(self) -> bool:
        return self._closing or self.lost

    def on_writable(self, callback: Callable[[], None]) -> None:
        self._writable = callback

    async def read(self) -> bytes:
        while not self._input and not self.closed:
            if self._not_binary:
                raise PeerError("malformed", "a WebSocket message that is not binary")
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._input)
        self._input.clear()
        self._taken.set()
        return data

    def write(self, data: bytes) -> None:
        if self.closed:
            return
        self._output += data
        self._unsent += len(data)
        self.congested = self._unsent > WRITE_HIGH_BYTES
        self._written.set()

    def close(self) -> None:
        self._closing = True
        self._wake()

    def abort(self) -> None:
        self._output.clear()
        self._closing = True
        self._wake()

    async def receive_all(self) -> None:
        """Take messages in as fast as they are read, until the peer leaves."""
        while not self.lost:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                self.server_stops = message.get("code") == _SERVICE_RESTART
                self._lose()
                return
            self.last_input = self._loop.time()
            data = message.get("bytes")
            if data is None:
                self._not_binary = True  # MQTT-6.0.0-1
                self._arrived.set()
                return
            self._input += data
            self._arrived.set()
            while len(self._input) >= READ_HIGH_BYTES and not self._closing:
                self._taken.clear()
                await self._taken.wait()

    async def send_all(self) -> None:
        """Send what is written, all that has gathered in one message, until the channel ends."""
        while not self.lost:
            data = bytes(self._output)
            self._output.clear()
            if data:
                try:
                    await self._websocket.send_bytes(data)
                except (WebSocketDisconnect, RuntimeError):
                    self._lose()
                    return
                self._sent(len(data))
            elif self._closing:
                return
            else:
                self._written.clear()
                await self._written.wait()

    def _sent(self, size: int) -> None:
        self._unsent -= size
        if self.congested and self._unsent <= WRITE_LOW_BYTES:
            self.congested = False
            self._writable()

    def _lose(self) -> None:
        self.lost = True
        self._output.clear()
        self._wake()

    def _wake(self) -> None:
        self.congested = False
        self._arrived.set()
        self._taken.set()
        self._written.set()
        self._writable()
