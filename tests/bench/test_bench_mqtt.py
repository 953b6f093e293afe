"""The lean client against Farshore's own broker, and what it puts on the wire."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from farshore_center.broker import (
    BrokerSettings,
    Client,
    DevGate,
    EmbeddedBroker,
    Publication,
    Refusal,
)
from hypothesis import given
from hypothesis import strategies as st

from bench import mqtt
from bench.errors import BenchError
from bench.publisher import measure
from bench.records import Load

DEADLINE_S = 20.0


class Broker:
    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.refused: list[str] = []
        settings = BrokerSettings(host="127.0.0.1", port=0)
        self.broker = EmbeddedBroker(
            settings, gate=DevGate(), ingest=self._ingest, rejected=self._rejected
        )

    async def _ingest(self, publication: Publication) -> None:
        self.taken.append((publication.topic, publication.payload))

    def _rejected(
        self, _client: Client | None, _topic: str | None, _payload: bytes, refusal: Refusal
    ) -> None:
        self.refused.append(refusal.reason)


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    found = Broker()
    await found.broker.start()
    yield found
    await found.broker.stop()


async def test_everything_published_is_taken_once_in_order_and_delivered(broker: Broker) -> None:
    delivered: list[tuple[str, bytes]] = []
    complete = asyncio.Event()
    messages = [("fs1/up/n1/evt/x", f"message {n}".encode() * 20) for n in range(300)]

    def heard(topic: str, payload: bytes) -> None:
        delivered.append((topic, payload))
        if len(delivered) == len(messages):
            complete.set()

    port = broker.broker.port
    subscriber = await mqtt.Client.connect(port, "subscriber", heard)
    await subscriber.subscribe("fs1/up/#")
    publisher = await mqtt.Client.connect(port, "n1")
    packets = [
        mqtt.publish_packet(topic, payload, packet_id=n + 1)
        for n, (topic, payload) in enumerate(messages)
    ]
    async with asyncio.timeout(DEADLINE_S):
        await publisher.publish_all(packets, window=8)
        assert broker.taken == messages  # at the last PUBACK already
        await complete.wait()
    assert delivered == messages
    assert broker.refused == []
    publisher.close()
    subscriber.close()


async def test_a_load_of_one_publisher_and_one_subscriber_runs_to_its_end(broker: Broker) -> None:
    load = Load(port=broker.broker.port, nodes=1, messages=200, warm_up=20, window=16, plain=True)
    async with asyncio.timeout(DEADLINE_S):
        sent = await measure(load)
    assert sent.seconds > 0
    assert len(set(broker.taken)) == len(broker.taken) == 220


async def test_the_window_holds() -> None:
    """No more than so many are unacknowledged; each PUBACK lets the next one go."""
    received = bytearray()
    arrived = asyncio.Event()
    peer: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer.append(writer)
        while data := await reader.read(65536):
            received.extend(data)
            arrived.set()
            if data[0] == 0x10:
                writer.write(b"\x20\x02\x00\x00")

    async def until_published(count: int) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while sum(first == 0x32 for first, _ in mqtt.split(received)[0]) < count:
                arrived.clear()
                await arrived.wait()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = await mqtt.Client.connect(server.sockets[0].getsockname()[1], "c")
    packets = [mqtt.publish_packet("t", b"x", packet_id=n + 1) for n in range(10)]
    publishing = asyncio.create_task(client.publish_all(packets, window=4))
    await until_published(4)
    peer[0].write(b"\x40\x02\x00\x01")
    await until_published(5)
    assert len(mqtt.split(received)[0]) == 1 + 5  # CONNECT, and no sixth
    assert not publishing.done()
    peer[0].close()
    await peer[0].wait_closed()
    with pytest.raises(BenchError, match="closed"):
        await publishing
    client.close()
    server.close()
    await server.wait_closed()


async def test_a_broker_that_refuses_is_an_error() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\x20\x02\x00\x05")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    with pytest.raises(BenchError, match="CONNACK 0005"):
        await mqtt.Client.connect(server.sockets[0].getsockname()[1], "c")
    async with asyncio.timeout(DEADLINE_S):
        await ended.wait()
    server.close()
    await server.wait_closed()


@given(
    st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(1, 400), max_size=20),
)
def test_packets_are_split_however_they_arrive(
    packets: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    wire = b"".join(mqtt.packet(first, body) for first, body in packets)
    buffer, found = bytearray(), []
    for size in [*cuts, len(wire)]:
        buffer += wire[:size]
        wire = wire[size:]
        complete, used = mqtt.split(buffer)
        del buffer[:used]
        found += complete
    assert found == packets
    assert not buffer
