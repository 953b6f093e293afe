"""MQTT over asyncio: paho-mqtt, driven by the event loop, without a thread per client.

A new paho client serves each connection, so nothing of a dead one (queues, half-read packets)
reaches the next. What it does not do: keep messages across connections; the streams do that.
"""

import asyncio
import logging
import random
import socket
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from farshore_protocol.clock import Clock
from farshore_protocol.link.backoff import Backoff, BackoffSettings
from farshore_protocol.link.model import LinkHandler, Message, Session

log = logging.getLogger(__name__)

FAREWELL_S = 2.0
"""How long an orderly close waits for the farewell to be acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    host: str
    port: int = 1883
    username: str | None = None
    password: str | None = None
    connect_timeout_s: float = 15.0
    backoff: BackoffSettings = field(default_factory=BackoffSettings)


class _Client(paho.Client):
    """A paho client that takes over a socket which the event loop has connected."""

    ready_socket: socket.socket

    def _create_socket_connection(self) -> socket.socket:
        return self.ready_socket


class _Connection:
    """One attempt and, if it succeeds, one connection."""

    def __init__(
        self,
        settings: MqttSettings,
        session: Session,
        handler: LinkHandler,
        clock: Clock,
        conn: int,
    ) -> None:
        self._settings = settings
        self._session = session
        self._handler = handler
        self._clock = clock
        self._conn = conn
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._heard_s = clock.monotonic_s()
        self._up_since_s: float | None = None
        self._acknowledged: dict[int, asyncio.Future[None]] = {}
        self._client = self._make_client()

    @property
    def up(self) -> bool:
        return self._up_since_s is not None and not self._ended.done()

    def up_s(self) -> float:
        """How long the connection has been up, 0 if it never was."""
        return 0.0 if self._up_since_s is None else self._clock.monotonic_s() - self._up_since_s

    def _make_client(self) -> _Client:
        client = _Client(
            CallbackAPIVersion.VERSION2, client_id=self._session.client_id, clean_session=True
        )
        client.suppress_exceptions = True
        client.max_inflight_messages_set(0)  # no limit of its own: the streams have the window
        if self._settings.username is not None:
            client.username_pw_set(self._settings.username, self._settings.password)
        will = self._session.will
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        return client

    async def serve(self) -> str:
        """Runs until the connection is over; why it ended."""
        watchdog = None
        try:
            self._client.ready_socket = await asyncio.wait_for(
                self._open_socket(), self._settings.connect_timeout_s
            )
            self._client.connect_async(
                self._settings.host, self._settings.port, self._session.keepalive_s
            )
            self._heard_s = self._clock.monotonic_s()
            self._client.reconnect()
            watchdog = asyncio.create_task(self._watch())
            return await self._ended
        except TimeoutError:
            return f"no connection within {self._settings.connect_timeout_s:g} s"
        except OSError as exc:
            return str(exc) or type(exc).__name__
        finally:
            if watchdog is not None:
                watchdog.cancel()
            self._drop_socket()

    async def _open_socket(self) -> socket.socket:
        """Connects to the first address that answers, without blocking the loop."""
        addresses = await self._loop.getaddrinfo(
            self._settings.host, self._settings.port, type=socket.SOCK_STREAM
        )
        failure: OSError = OSError(f"{self._settings.host}: no address")
        for family, kind, proto, _, address in addresses:
            sock = socket.socket(family, kind, proto)
            sock.setblocking(False)
            try:
                await self._loop.sock_connect(sock, address)
            except OSError as exc:
                sock.close()
                failure = exc
            except asyncio.CancelledError:
                sock.close()
                raise
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
        raise failure

    async def _watch(self) -> None:
        """Ends a connection on which nothing comes in any more, whatever paho believes."""
        silence_s = self._session.keepalive_s * 1.5
        step_s = max(0.2, self._session.keepalive_s / 4)
        while not self._ended.done():
            await asyncio.sleep(step_s)
            self._client.loop_misc()
            silent_s = self._clock.monotonic_s() - self._heard_s
            limit_s = silence_s if self.up else self._settings.connect_timeout_s
            if silent_s > limit_s:
                self.end(f"nothing heard for {silent_s:.0f} s")

    # Called by paho; each only takes note

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, _props: Any) -> None:
        if code.is_failure:
            self.end(f"refused: {code}")
        elif self._session.filters:
            self._client.subscribe([(topic_filter, 1) for topic_filter in self._session.filters])
        else:
            self._is_up()

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, codes: Any, _props: Any) -> None:
        refused = [
            topic_filter
            for topic_filter, code in zip(self._session.filters, codes, strict=False)
            if code.is_failure
        ]
        if refused:
            self.end(f"subscription refused: {', '.join(refused)}")
        else:
            self._is_up()

    def _is_up(self) -> None:
        self._up_since_s = self._clock.monotonic_s()
        self._handler.link_up(self._conn)

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _props: Any) -> None:
        self.end(f"disconnected: {code}")

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        try:
            self._handler.received(
                Message(
                    topic=message.topic,
                    payload=bytes(message.payload),
                    qos=message.qos,
                    retain=message.retain,
                )
            )
        except Exception:
            log.exception("a received message could not be taken", extra={"topic": message.topic})

    def _on_publish(self, _client: Any, _data: Any, mid: int, _code: Any, _props: Any) -> None:
        waiter = self._acknowledged.pop(mid, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _on_socket_open(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.add_reader(sock, self._readable)

    def _on_socket_close(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)
        self.end("socket closed")

    def _on_register_write(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.add_writer(sock, self._client.loop_write)

    def _on_unregister_write(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _readable(self) -> None:
        self._heard_s = self._clock.monotonic_s()
        self._client.loop_read()

    # Called by the link

    def publish(self, message: Message) -> bool:
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        return info.rc == paho.MQTT_ERR_SUCCESS

    async def leave(self, farewell: Message | None) -> None:
        if farewell is not None:
            info = self._client.publish(
                farewell.topic, farewell.payload, farewell.qos, farewell.retain
            )
            if farewell.qos and info.rc == paho.MQTT_ERR_SUCCESS and not info.is_published():
                waiter = self._acknowledged[info.mid] = self._loop.create_future()
                await asyncio.wait(
                    [waiter, self._ended], timeout=FAREWELL_S, return_when="FIRST_COMPLETED"
                )
        self._client.disconnect()
        self.end("closed")

    def end(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_result(reason)

    def _drop_socket(self) -> None:
        sock = self._client.socket()
        if sock is None:
            sock = getattr(self._client, "ready_socket", None)
        if sock is not None and sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
            sock.close()


class MqttLink:
    """A ``Link`` to an MQTT broker over TCP."""

    def __init__(self, settings: MqttSettings, *, clock: Clock, rng: random.Random) -> None:
        self._settings = settings
        self._clock = clock
        self._backoff = Backoff(settings.backoff, rng)
        self._connection: _Connection | None = None
        self._closing = asyncio.Event()
        self._finished = asyncio.Event()
        self._running = False

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.up

    async def run(self, handler: LinkHandler) -> None:
        self._running = True
        conn = 0
        try:
            while not self._closing.is_set():
                conn += 1
                wait_s = await self._serve_once(handler, conn)
                if not self._closing.is_set():
                    await self._pause(wait_s)
        finally:
            self._finished.set()

    async def _serve_once(self, handler: LinkHandler, conn: int) -> float:
        """One connection; how many seconds to wait before the next attempt."""
        connection = _Connection(self._settings, handler.session(conn), handler, self._clock, conn)
        self._connection = connection
        reason = await connection.serve()
        self._connection = None
        up_s = connection.up_s()
        if up_s or reason == "closed":
            handler.link_down(conn, reason)
        wait_s = self._backoff.failed(up_s=up_s)
        if not self._closing.is_set():
            log.info(
                "the link is down", extra={"reason": reason, "up_s": up_s, "retry_in_s": wait_s}
            )
        return wait_s

    async def _pause(self, wait_s: float) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), wait_s)
        except TimeoutError:
            return

    def publish(self, message: Message) -> bool:
        connection = self._connection
        return connection is not None and connection.up and connection.publish(message)

    async def close(self, farewell: Message | None = None) -> None:
        self._closing.set()
        connection = self._connection
        if connection is not None and connection.up:
            await connection.leave(farewell)
        elif connection is not None:
            connection.end("closed")
        if self._running:
            await self._finished.wait()

    def reconnect(self, reason: str) -> None:
        if self._connection is not None:
            self._connection.end(reason)
