"""MQTT over WebSocket, under a real web server, with the broker's own guarantees."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from broker.rawclient import (
    DEADLINE_S,
    PINGREQ,
    connect_packet,
    packet,
    publish_packet,
    small_buffered_socket,
    subscribe_packet,
)
from broker.workbench import Bench, MakeBench, eventually
from farshore_center.broker import websocket_route
from fastapi import FastAPI
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.enums import CallbackAPIVersion
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

MQTT = Subprotocol("mqtt")
ACCEPTED = b"\x20\x02\x00\x00"


class Web:
    """A web server on a free port, with the broker mounted at /mqtt."""

    def __init__(self, bench: Bench) -> None:
        app = FastAPI()
        app.add_api_websocket_route("/mqtt", websocket_route(bench.broker))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/mqtt"
        config: Any = {"log_level": "warning", "lifespan": "off", "ws": "websockets-sansio"}
        self._server = uvicorn.Server(uvicorn.Config(app, **config))
        self._task = asyncio.ensure_future(self._server.serve(sockets=[self._socket]))

    async def started(self) -> None:
        await eventually(lambda: self._server.started)

    async def stop(self) -> None:
        self._server.should_exit = True
        async with asyncio.timeout(DEADLINE_S):
            await self._task
        self._socket.close()


@pytest.fixture
async def web(bench: Bench) -> AsyncIterator[Web]:
    web = Web(bench)
    await web.started()
    yield web
    await web.stop()


async def opened(
    web: Web, connection: bytes, *, own_socket: socket.socket | None = None
) -> ClientConnection:
    client = await connect(web.url, subprotocols=[MQTT], sock=own_socket)
    assert client.subprotocol == "mqtt"
    await client.send(connection)
    assert await received(client, len(ACCEPTED)) == ACCEPTED
    return client


async def received(client: ClientConnection, size: int) -> bytes:
    """So many bytes, in however many messages."""
    data = b""
    async with asyncio.timeout(DEADLINE_S):
        while len(data) < size:
            message = await client.recv()
            assert isinstance(message, bytes)
            data += message
    return data


async def test_a_client_over_websocket_is_a_client(bench: Bench, web: Web) -> None:
    client = await opened(web, connect_packet("c", will=("will", b"gone")))
    ((seen),) = bench.broker.clients()
    assert (seen.client_id, seen.transport) == ("c", "websocket")
    assert seen.remote.startswith("127.0.0.1:")
    await client.send(subscribe_packet("t", qos=1))
    assert await received(client, 5) == b"\x90\x03\x00\x01\x01"
    await bench.broker.publish("t", b"1", qos=1)
    expected = publish_packet("t", b"1", qos=1, packet_id=1)
    assert await received(client, len(expected)) == expected
    await client.close()
    await eventually(lambda: [p.topic for p in bench.ingested] == ["will"])


async def test_packets_need_not_align_with_messages(bench: Bench, web: Web) -> None:
    client = await connect(web.url, subprotocols=[MQTT])
    stream = connect_packet("c") + publish_packet("t", bytes(300), qos=1) + packet(PINGREQ)
    for start in range(0, len(stream), 7):
        await client.send(stream[start : start + 7])
    expected = ACCEPTED + b"\x40\x02\x00\x01" + b"\xd0\x00"
    assert await received(client, len(expected)) == expected
    await client.close()


async def test_disconnect_sends_no_will_and_closes_the_websocket(bench: Bench, web: Web) -> None:
    client = await opened(web, connect_packet("c", will=("will", b"gone")))
    await client.send(packet(14))
    async with asyncio.timeout(DEADLINE_S):
        await client.wait_closed()
    assert client.close_code == 1000
    await eventually(lambda: bench.broker.stats().connections == 0)
    assert bench.ingested == []


@pytest.mark.parametrize("nonsense", ["text", b"GET / HTTP/1.1", b"\x10\xff\xff\xff\x7f"])
async def test_nonsense_is_closed(bench: Bench, web: Web, nonsense: str | bytes) -> None:
    client = await connect(web.url, subprotocols=[MQTT])
    await client.send(nonsense)
    async with asyncio.timeout(DEADLINE_S):
        await client.wait_closed()
    await eventually(lambda: bench.broker.stats().connections == 0)
    assert bench.reasons() in (["malformed"], ["too_large"])


async def test_only_the_subprotocol_mqtt_is_served(bench: Bench, web: Web) -> None:
    with pytest.raises(InvalidStatus):
        await connect(web.url)
    assert bench.broker.stats().connections == 0


async def test_a_page_of_another_site_is_not_served(bench: Bench, web: Web) -> None:
    with pytest.raises(InvalidStatus):
        await connect(web.url, subprotocols=[MQTT], origin=Origin("https://elsewhere.example"))
    own = Origin(f"http://127.0.0.1:{web.port}")
    await (await connect(web.url, subprotocols=[MQTT], origin=own)).close()


async def test_a_client_takes_over_from_one_transport_to_the_other(bench: Bench, web: Web) -> None:
    tcp = await bench.client("c", will=("will", b"tcp"))
    websocket = await opened(web, connect_packet("c", will=("will", b"websocket")))
    await tcp.closed()
    assert [p.payload for p in bench.ingested] == [b"tcp"]
    await bench.client("c")
    with pytest.raises(ConnectionClosed):
        await received(websocket, 1)
    assert [p.payload for p in bench.ingested] == [b"tcp", b"websocket"]


async def test_connections_over_websocket_count(make_bench: MakeBench) -> None:
    bench = await make_bench(max_connections=1)
    web = Web(bench)
    await web.started()
    client = await opened(web, connect_packet("c"))
    other = await connect(web.url, subprotocols=[MQTT])
    with pytest.raises(ConnectionClosed):
        await received(other, 1)
    assert bench.reasons() == ["too_many_connections"]
    await client.close()
    await web.stop()


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_client_that_does_not_read_harms_itself_alone(
    make_bench: MakeBench, qos: int
) -> None:
    bench = await make_bench(max_queued_messages=10)
    web = Web(bench)
    await web.started()
    small = await small_buffered_socket(web.port)
    client = await opened(web, connect_packet("slow", will=("will", b"gone")), own_socket=small)
    await client.send(subscribe_packet("t", qos=qos))
    await received(client, 5)
    client.transport.pause_reading()
    other = await bench.client("other")
    payload = random.Random(1).randbytes(100_000)  # WebSockets compress what is monotonous
    for _ in range(200):
        await bench.broker.publish("t", payload, qos=qos)
        await other.nothing_before_pong()
    stats = bench.broker.stats()
    assert stats.dropped > 0
    if qos == 0:
        assert stats.closed == {}
    else:
        assert stats.closed == {"slow_consumer": 1}
        await eventually(lambda: [p.topic for p in bench.ingested] == ["will"])
    client.transport.abort()
    await web.stop()


async def test_a_client_gets_more_than_fits_into_a_buffer(bench: Bench, web: Web) -> None:
    for number in range(2_000):
        await bench.broker.publish(f"t/{number:04}", bytes(100), retain=True)
    client = await opened(web, connect_packet("c"))
    await client.send(subscribe_packet("t/#"))
    await received(client, 5 + 2_000 * len(publish_packet("t/0000", bytes(100))))
    await client.close()


@pytest.mark.parametrize("first", ["web server", "broker"])
async def test_stopping_either_sends_no_wills(make_bench: MakeBench, first: str) -> None:
    bench = await make_bench()
    web = Web(bench)
    await web.started()
    client = await opened(web, connect_packet("c", will=("will", b"gone")))
    if first == "broker":
        await bench.broker.stop()
    await web.stop()
    await eventually(lambda: bench.broker.stats().connections == 0)
    assert bench.ingested == []
    async with asyncio.timeout(DEADLINE_S):
        await client.wait_closed()


async def test_paho_works_over_websocket(bench: Bench, web: Web) -> None:
    client = PahoClient(CallbackAPIVersion.VERSION2, "paho", transport="websockets")
    await asyncio.to_thread(client.connect, "127.0.0.1", web.port)
    client.loop_start()
    try:
        info = client.publish("up", b"1", qos=1)
        await asyncio.to_thread(info.wait_for_publish, DEADLINE_S)
        assert [p.payload for p in bench.ingested] == [b"1"]
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
