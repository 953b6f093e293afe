"""One MQTT connection, from dialling to its end: paho-mqtt, driven by the event loop.

It does not connect again (``mqtt.py`` does), and a new paho client serves each connection, so
nothing of a dead one (queues, half-read packets) reaches the next.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from farshore_protocol.clock import Clock
from farshore_protocol.link.backoff import BackoffSettings
from farshore_protocol.link.dial import dial
from farshore_protocol.link.model import LinkHandler, Message, Session, tell

log = logging.getLogger(__name__)

FAREWELL_S = 2.0
"""How long an orderly close waits for the farewell to be acknowledged, and to be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttSettings:
    """``connect_timeout_s``: from the first packet until every filter is subscribed."""

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


class Connection:
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
        self._watching: asyncio.TimerHandle | None = None
        self._heard_s = clock.monotonic_s()
        self._up_since_s: float | None = None
        self._early: list[Message] = []
        self._leaving = False
        self.reached = True
        """False when dialling failed: nobody listened, or there was no way. A time-out says nothing."""
        self._acknowledged: dict[int, asyncio.Future[None]] = {}
        self._client = self._make_client()

    @property
    def was_up(self) -> bool:
        return self._up_since_s is not None

    @property
    def up(self) -> bool:
        return self.was_up and not self._ended.done()

    def up_s(self) -> float:
        """How long the connection has been up, 0 if it never was."""
        return 0.0 if self._up_since_s is None else self._clock.monotonic_s() - self._up_since_s

    def _make_client(self) -> _Client:
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._session.client_id,
            clean_session=True,
            reconnect_on_failure=False,  # or paho would dial by itself after some refusals
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
        dialling = self._loop.create_task(dial(self._settings.host, self._settings.port))
        dialling.add_done_callback(self._dialled)
        timer = self._loop.call_later(self._settings.connect_timeout_s, self._not_up_in_time)
        try:
            return await self._ended
        finally:
            self.end("cancelled")
            dialling.cancel()
            timer.cancel()
            if self._watching is not None:
                self._watching.cancel()
            self._drop_socket()

    def _dialled(self, dialling: asyncio.Task[socket.socket]) -> None:
        if dialling.cancelled():
            return
        failure = dialling.exception()
        if failure is not None:
            self.reached = self._ended.done()
            self.end(str(failure) or type(failure).__name__)
        elif self._ended.done():
            dialling.result().close()
        else:
            self._client.ready_socket = dialling.result()
            self._drive(self._start)

    def _start(self) -> None:
        """Hands the socket to paho, which sends CONNECT."""
        keepalive_s = self._session.keepalive_s
        self._client.connect_async(self._settings.host, self._settings.port, keepalive_s)
        self._heard_s = self._clock.monotonic_s()
        self._client.reconnect()
        self._watch()

    def _not_up_in_time(self) -> None:
        if not self.was_up:
            self.end(f"no connection within {self._settings.connect_timeout_s:g} s")

    def _watch(self) -> None:
        """Ends a connection on which nothing comes in any more, whatever paho believes."""
        if self._ended.done():
            return
        keepalive_s = self._session.keepalive_s
        self._watching = self._loop.call_later(max(0.2, keepalive_s / 4), self._watch)
        self._drive(self._client.loop_misc)
        silent_s = self._clock.monotonic_s() - self._heard_s
        if self.up and silent_s > keepalive_s * 1.5:
            self.end(f"nothing heard for {silent_s:.0f} s")

    def _drive(self, step: Callable[[], object]) -> None:
        """A step of paho's; it raises where a broker breaks the protocol, and would go on so."""
        try:
            step()
        except Exception as exc:
            log.warning("the connection is given up", extra={"reason": repr(exc)})
            self.end(f"protocol broken: {exc!r}")

    # Called by paho; each only takes note

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, _props: Any) -> None:
        if code.is_failure:
            self.end(f"refused: {code}")
        elif self._session.filters:
            try:
                self._client.subscribe([(each, 1) for each in self._session.filters])
            except ValueError as exc:  # paho would swallow it, and the connection hang
                self.end(f"subscription impossible: {exc}")
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
        if self._ended.done():
            return
        self._up_since_s = self._clock.monotonic_s()
        tell(self._handler.link_up, self._conn)
        early, self._early = self._early, []
        for message in early:
            tell(self._handler.received, message)

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _props: Any) -> None:
        self.end(f"disconnected: {code}")

    def _on_message(self, _client: Any, _data: Any, taken: paho.MQTTMessage) -> None:
        try:
            topic = taken.topic
        except UnicodeDecodeError as exc:
            log.warning("a received topic is no text", extra={"reason": str(exc)})
            return
        message = Message(
            topic=topic, payload=bytes(taken.payload), qos=taken.qos, retain=taken.retain
        )
        if self.up:
            tell(self._handler.received, message)
        elif not self._ended.done():
            self._early.append(message)

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
        self._loop.add_writer(sock, self._drive, self._client.loop_write)

    def _on_unregister_write(self, _client: Any, _data: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _readable(self) -> None:
        self._heard_s = self._clock.monotonic_s()
        self._drive(self._client.loop_read)

    # Called by the link

    def publish(self, message: Message) -> bool:
        info = self._client.publish(message.topic, message.payload, message.qos, message.retain)
        return info.rc == paho.MQTT_ERR_SUCCESS

    @property
    def congested(self) -> bool:
        return bool(self._client.want_write())

    async def leave(self, farewell: Message | None) -> None:
        """Says ``farewell`` if the connection is up, then DISCONNECT, and sees both written."""
        self._leaving = True
        if farewell is not None and self.up:
            info = self._client.publish(
                farewell.topic, farewell.payload, farewell.qos, farewell.retain
            )
            if farewell.qos and info.rc == paho.MQTT_ERR_SUCCESS:
                waiter = self._acknowledged[info.mid] = self._loop.create_future()
                await asyncio.wait(
                    [waiter, self._ended], timeout=FAREWELL_S, return_when="FIRST_COMPLETED"
                )
        self._client.disconnect()
        # Now, not in the loop's next turn: the socket goes with the end of ``serve``.
        self._drive(self._client.loop_write)
        if self._client.socket() is not None:
            await asyncio.wait([self._ended], timeout=FAREWELL_S)
        self.end("closed")

    def end(self, reason: str) -> None:
        """The connection is over, for the first reason that is given."""
        if not self._ended.done():
            self._ended.set_result("closed" if self._leaving else reason)

    def _drop_socket(self) -> None:
        """Closes what is open; paho's client keeps no way back to this connection."""
        client = self._client
        client.on_socket_close = None
        client.on_socket_unregister_write = None
        sock = client.socket() or getattr(client, "ready_socket", None)
        if sock is not None and sock.fileno() >= 0:
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
            sock.close()
