"""How the center reaches its nodes: through the embedded broker, or through an external one.

Both give the same two things: messages of nodes go to ``Intake.take``, and ``send`` publishes.
"""

import asyncio
import random
import zlib
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
from farshore_center.settings import Address, ListenError

log = structlog.get_logger(__name__)

Take = Callable[[str, bytes, str | None], Awaitable[None]]
Rejected = Callable[[Client | None, str | None, bytes, Refusal], None]

INBOX_MESSAGES = 10_000
LANES = 64
"""What different nodes say is taken at the same time, so that a thousand births share commits."""


class Uplink(Protocol):
    @property
    def ready(self) -> bool: ...

    async def start(self) -> None: ...

    async def send(self, message: Message) -> None: ...

    async def stop(self) -> None: ...


def _state(epoch: str, online: bool) -> Message:
    word = CenterStateMessage(state="online" if online else "offline", epoch=epoch)
    return Message(topic=CenterState().build(), payload=encode(word), qos=1, retain=True)


def _lane(topic: str) -> int:
    """The lane of the node that a topic names."""
    return zlib.crc32("/".join(topic.split("/", 3)[:3]).encode()) % LANES


class EmbeddedUplink:
    """The broker in this process: what a node publishes is awaited before its PUBACK."""

    def __init__(self, address: Address, *, take: Take, rejected: Rejected, epoch: str) -> None:
        self._address = address
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
        try:
            await self.broker.start()
        except OSError as exc:
            raise ListenError("--mqtt", self._address, exc) from exc
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
        self,
        address: Address,
        *,
        take: Take,
        ended: Callable[[asyncio.Task[None]], None],
        epoch: str,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """``ended`` is told when a loop ends that should not."""
        self._take = take
        self._ended = ended
        self._epoch = epoch
        self._link = MqttLink(
            MqttSettings(host=address.host, port=address.port), clock=clock, rng=rng
        )
        # A node's messages stay in order: they share a lane.
        self._lanes: list[asyncio.Queue[Message]] = [asyncio.Queue() for _ in range(LANES)]
        self._waiting = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.dropped = 0

    @property
    def ready(self) -> bool:
        return self._link.connected

    # LinkHandler

    def session(self, conn: int) -> Session:
        log.debug("connects to the broker", conn=conn)
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
        if self._waiting >= INBOX_MESSAGES:
            self.dropped += 1  # not acknowledged end to end, so the node sends it again
            return
        self._waiting += 1
        self._lanes[_lane(message.topic)].put_nowait(message)

    async def _take_in(self, lane: asyncio.Queue[Message]) -> None:
        while True:
            message = await lane.get()
            try:
                await self._take(message.topic, message.payload, None)
            finally:
                self._waiting -= 1

    async def start(self) -> None:
        loops = [
            self._link.run(self),
            *(self._take_in(lane) for lane in self._lanes),
        ]
        for loop in loops:
            task = asyncio.create_task(loop, name="uplink")
            task.add_done_callback(self._ended)
            self._tasks.append(task)

    async def send(self, message: Message) -> None:
        self._link.publish(message)

    async def stop(self) -> None:
        await self._link.close(_state(self._epoch, False))
        for task in self._tasks:
            task.remove_done_callback(self._ended)
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
