"""The embedded broker: MQTT 3.1.1 in the center's own process, for a first fleet.

QoS 0 and 1 out, 0 to 2 in; clean sessions only. Nothing survives a restart: what must not be lost
is acknowledged end to end, by its reader. The packets are amqtt's; why its broker is not is in
docs/decisions/0003-embedded-broker.md.
"""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress

import structlog

from farshore_center.broker.channel import Channel, TcpChannel
from farshore_center.broker.connection import Connection
from farshore_center.broker.errors import BrokerError
from farshore_center.broker.hub import Hub
from farshore_center.broker.model import (
    BrokerSettings,
    BrokerStats,
    Client,
    Gate,
    Ingest,
    Publication,
    Refusal,
    Rejections,
)
from farshore_center.broker.registry import Registry

log = structlog.get_logger(__name__)


class EmbeddedBroker:
    """A broker that asks ``gate``, awaits ``ingest``, and tells ``rejected`` what it refused."""

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        gate: Gate,
        ingest: Ingest,
        rejected: Rejections,
        new_id: Callable[[], str] = lambda: f"anonymous-{secrets.token_hex(8)}",
    ) -> None:
        self._settings = settings
        self._hub = Hub(settings, gate=gate, ingest=ingest, rejected=rejected)
        self._registry: Registry[Connection] = Registry()
        self._new_id = new_id
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._channels: set[TcpChannel] = set()
        self._stopping = False

    async def start(self) -> None:
        """Listen; connections over other channels (``serve``) are taken from the start."""
        if self._server is not None:
            raise BrokerError("the broker has been started already")
        loop = asyncio.get_running_loop()
        self._stopping = False
        self._server = await loop.create_server(
            lambda: TcpChannel(self._opened, self._channels.discard),
            self._settings.host,
            self._settings.port,
            ssl=self._settings.tls,
            ssl_handshake_timeout=self._settings.connect_timeout_s if self._settings.tls else None,
            backlog=1024,
        )
        log.info("mqtt broker listens", host=self._settings.host, port=self.port)

    async def stop(self) -> None:
        """Close every client orderly, without wills: it is we who leave, not they."""
        if self._server is None:
            return
        self._stopping = True
        self._server.close()
        self._server = None
        ending = tuple(self._connections)
        for connection in ending:
            connection.stop()
        deadline = asyncio.get_running_loop().time() + self._settings.stop_timeout_s
        await _all_or_late([connection.ended for connection in ending], deadline)
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()  # an ingest that does not end; its sender has got no PUBACK
        await asyncio.gather(*tasks, return_exceptions=True)
        channels = tuple(self._channels)
        await _all_or_late([channel.lost for channel in channels], deadline)
        for channel in channels:
            channel.abort()  # a peer that does not read what is left for it
        await asyncio.sleep(0)  # asyncio closes aborted sockets in its next turn
        log.info("mqtt broker stopped", clients=len(ending))

    @property
    def port(self) -> int:
        """The port that is listened on, also when the setting says 0."""
        if self._server is None:
            raise BrokerError("the broker has not been started")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False
    ) -> None:
        """From the center to whoever is subscribed; not through the gate, not through ingest.

        Returns when it is queued for everyone: a slow client delays nobody.
        """
        self._hub.publish(
            Publication(client=None, topic=topic, payload=payload, qos=min(qos, 1), retain=retain)
        )

    def subscribe_local(
        self, topic_filter: str, handler: Callable[[Publication], None]
    ) -> Callable[[], None]:
        """Call ``handler`` for every match, retained ones first; returns the undo.

        The handler only enqueues: the sender's packet waits while it runs.
        """
        return self._hub.subscribe_local(topic_filter, handler)

    def kick(self, client_id: str) -> bool:
        """Cut a client's connection now, its will included. False: it is not connected."""
        connection = self._registry.get(client_id)
        if connection is None:
            return False
        connection.abort("kicked")
        return True

    def clients(self) -> tuple[Client, ...]:
        return tuple(
            connection.client
            for connection in self._registry
            if connection.client is not None and connection.established
        )

    def stats(self) -> BrokerStats:
        hub, registry, traffic = self._hub, self._registry, self._registry.traffic
        return BrokerStats(
            connections=len(self._connections),
            clients=len(registry),
            subscriptions=len(hub.index),
            retained=len(hub.retained),
            connects=registry.connects,
            received=hub.received,
            delivered=traffic.delivered,
            dropped=traffic.dropped + sum(c.dropped for c in self._connections),
            bytes_received=traffic.bytes_received,
            bytes_sent=traffic.bytes_sent,
            refused=dict(hub.refused),
            closed=dict(registry.closed),
        )

    async def serve(self, channel: Channel) -> None:
        """Serve one client over a channel of another kind, until it ends."""
        connection = self._admit(channel)
        if connection is not None:
            await self._run(connection)

    def _opened(self, channel: TcpChannel) -> None:
        connection = self._admit(channel)
        if connection is not None:
            self._channels.add(channel)
            task = asyncio.get_running_loop().create_task(self._run(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _admit(self, channel: Channel) -> Connection | None:
        limit = self._settings.max_connections
        if not self._stopping and len(self._connections) < limit:
            connection = Connection(channel, self._hub, self._registry, self._new_id)
            self._connections.add(connection)
            return connection
        channel.abort()
        if not self._stopping:
            detail = f"{limit} connections are open, {channel.remote} came as one more"
            self._hub.refuse(None, None, b"", Refusal(reason="too_many_connections", detail=detail))
        return None

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


async def _all_or_late(events: list[asyncio.Event], deadline: float) -> None:
    """Wait until all events are set, or until ``deadline`` on the event loop's clock."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            for event in events:
                await event.wait()
