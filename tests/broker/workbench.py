"""A broker with a gate and an ingest that the test can look into."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from broker.rawclient import DEADLINE_S, RawClient
from farshore_center.broker import (
    Client,
    EmbeddedBroker,
    Publication,
    Refusal,
)


async def eventually(condition: Callable[[], bool]) -> None:
    """Let others run until ``condition`` holds; a deadline, no fixed wait."""
    deadline = asyncio.get_running_loop().time() + DEADLINE_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it never came to that"
        await asyncio.sleep(0)


@dataclass
class Bench:
    """A broker and everything that it told the center."""

    broker: EmbeddedBroker
    ingested: list[Publication] = field(default_factory=list)
    rejected: list[tuple[Client | None, str | None, bytes, Refusal]] = field(default_factory=list)
    admitted: list[tuple[Client, bytes | None]] = field(default_factory=list)
    refuse: dict[str, Refusal] = field(default_factory=dict)
    """Client id, topic or filter, and why it is refused."""
    before_ingest: Callable[[Publication], Awaitable[None]] | None = None
    opened: list[RawClient] = field(default_factory=list)

    def admit(self, client: Client, password: bytes | None) -> Refusal | None:
        self.admitted.append((client, password))
        return self.refuse.get(client.client_id)

    def may_publish(self, client: Client, topic: str) -> Refusal | None:
        return self.refuse.get(topic)

    def may_retain(self, client: Client, topic: str) -> Refusal | None:
        return self.refuse.get(f"retain {topic}")

    def may_subscribe(self, client: Client, topic_filter: str) -> Refusal | None:
        return self.refuse.get(topic_filter)

    async def ingest(self, publication: Publication) -> None:
        if self.before_ingest is not None:
            await self.before_ingest(publication)
        self.ingested.append(publication)

    def note(
        self, client: Client | None, topic: str | None, payload: bytes, refusal: Refusal
    ) -> None:
        self.rejected.append((client, topic, payload, refusal))

    def reasons(self) -> list[str]:
        return [refusal.reason for *_, refusal in self.rejected]

    async def client(self, client_id: str, **options: Any) -> RawClient:
        """A connected client, cut at the end of the test."""
        client = await RawClient.connect(self.broker.port, client_id, **options)
        self.opened.append(client)
        return client

    async def stranger(self, **options: Any) -> RawClient:
        """An opened connection that has sent nothing yet."""
        client = await RawClient.open(self.broker.port, **options)
        self.opened.append(client)
        return client


MakeBench = Callable[..., Awaitable[Bench]]
