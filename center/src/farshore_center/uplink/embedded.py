"""The embedded broker: in this process, for a first fleet."""

from collections.abc import Callable
from functools import partial

from farshore_protocol.link import Message

from farshore_center.broker import (
    BrokerSettings,
    Client,
    DevGate,
    EmbeddedBroker,
    Publication,
    Refusal,
)
from farshore_center.settings import Address, ListenError
from farshore_center.uplink.model import State, Take, center_state

Rejected = Callable[[Client | None, str | None, bytes, Refusal], None]


class EmbeddedUplink:
    """The broker in this process: what a node publishes is awaited before its PUBACK."""

    def __init__(
        self,
        address: Address,
        *,
        take: Take,
        rejected: Rejected,
        epoch: str,
        state: State | None = None,
    ) -> None:
        """``state`` makes the center's word, without it of nothing but the epoch."""
        self._address = address
        self._take = take
        self._state = state or partial(center_state, epoch)
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

    @property
    def fault(self) -> str | None:
        return None if self._up else "the embedded broker does not run"

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
        await self.send(self._state(True))
        self._up = True

    async def send(self, message: Message) -> None:
        await self.broker.publish(
            message.topic, message.payload, qos=message.qos, retain=message.retain
        )

    async def stop(self) -> None:
        self._up = False
        await self.broker.stop()
