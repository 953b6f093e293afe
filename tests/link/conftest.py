"""A started broker of each kind, and peers that are ended with the test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
from farshore_protocol.link import Link, Message
from link.brokers import BROKERS, Broker, Mosquitto
from link.peer import Peer


class MakePeer(Protocol):
    def __call__(
        self,
        client_id: str,
        *filters: str,
        will: Message | None = None,
        link: Link | None = None,
    ) -> Peer: ...


@pytest.fixture(params=sorted(BROKERS))
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    broker = BROKERS[request.param](tmp_path / "broker")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def mosquitto(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def peers() -> AsyncIterator[list[Peer]]:
    peers: list[Peer] = []
    yield peers
    for peer in peers:
        await peer.end()


@pytest.fixture
def make_peer(broker: Broker, peers: list[Peer]) -> MakePeer:
    def make(
        client_id: str,
        *filters: str,
        will: Message | None = None,
        link: Link | None = None,
    ) -> Peer:
        peer = Peer(link or broker.link(), client_id, *filters, will=will)
        peers.append(peer)
        return peer

    return make
