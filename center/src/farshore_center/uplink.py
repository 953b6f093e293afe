"""How the center reaches its nodes: through the embedded broker, or through an external one.

Both give the same two things: messages of nodes go to ``Intake.take``, and ``send`` publishes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog
from farshore_protocol.clock import Clock
from farshore_protocol.codec import encode
from farshore_protocol.link import Message, Session
from farshore_protocol.link.mqtt import MqttLink, MqttSettings
from farshore_protocol.messages import CenterStateMessage
from farshore_protocol.topics import CENTER_FILTERS, CenterState

from farshore_center.broker import (
    BrokerSettings,
    Client,
    DevGate,
    EmbeddedBroker,
    Publication,
    Refusal,
)
from farshore_center.settings import Address

log = structlog.get_logger(__name__)

Take = Callable[[str, bytes, str | None], Awaitable[None]]
Rejected = Callable[[Client | None, str | None, bytes, Refusal], None]

INBOX_MESSAGES = 10_000


class Uplink(Protocol):
    @property
    def ready(self) -> bool: ...

    async def start(self) -> None: ...

    async def send(self, message: Message) -> None: ...

    async def stop(self) -> None: ...


def _state(epoch: str, online: bool) -> Message:
    word = CenterStateMessage(state="online" if online else "offline", epoch=epoch)
    return Message(topic=CenterState().build(), payload=encode(word), qos=1, retain=True)


class EmbeddedUplink:
    """The broker in this process: what a node publishes is awaited before its PUBACK."""

    def __init__(self, address: Address, *, take: Take, rejected: Rejected, epoch: str) -> None:
        self._take = take
        self._epoch = epoch
        self.broker = EmbeddedBroker(
            BrokerSettings(host=address.host, port=address.port),
            gate=DevGate(),
            ingest=self._ingest,
            rejected=rejected,
        )
        self._up = False

    @property
    def ready(self) -> bool:
        return self._up

    async def _ingest(self, publication: Publication) -> None:
        if publication.topic.startswith("fs1/up/"):
            client = publication.client
            await self._take(
                publication.topic,
                publication.payload,
                client.client_id if client is not None else None,
            )

    async def start(self) -> None:
        await self.broker.start()
        await self.send(_state(self._epoch, True))
        self._up = True

    async def send(self, message: Message) -> None:
        await self.broker.publish(
            message.topic, message.payload, qos=message.qos, retain=message.retain
        )

    async def stop(self) -> None:
        self._up = False
        await self.broker.stop()


class ExternalUplink:
    """An MQTT broker that runs elsewhere; the center is one of its clients."""

    def __init__(
        self, address: Address, *, take: Take, epoch: str, clock: Clock, rng: random.Random
    ) -> None:
        self._take = take
        self._epoch = epoch
        self._link = MqttLink(
            MqttSettings(host=address.host, port=address.port), clock=clock, rng=rng
        )
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(INBOX_MESSAGES)
        self._tasks: list[asyncio.Task[None]] = []
        self.dropped = 0

    @property
    def ready(self) -> bool:
        return self._link.connected

    # LinkHandler

    def session(self, conn: int) -> Session:  # noqa: ARG002 # the handler's contract
        return Session(
            client_id=f"center-{self._epoch}",
            filters=CENTER_FILTERS,
            will=_state(self._epoch, False),
        )

    def link_up(self, conn: int) -> None:
        log.info("connected to the broker", conn=conn)
        self._link.publish(_state(self._epoch, True))

    def link_down(self, conn: int, reason: str) -> None:
        log.warning("the broker is gone", conn=conn, reason=reason)

    def received(self, message: Message) -> None:
        try:
            self._inbox.put_nowait(message)
        except asyncio.QueueFull:
            self.dropped += 1  # not acknowledged end to end, so the node sends it again

    async def _take_in(self) -> None:
        while True:
            message = await self._inbox.get()
            await self._take(message.topic, message.payload, None)

    async def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._link.run(self), name="broker link"),
            asyncio.create_task(self._take_in(), name="broker inbox"),
        ]

    async def send(self, message: Message) -> None:
        self._link.publish(message)

    async def stop(self) -> None:
        await self._link.close(_state(self._epoch, False))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
