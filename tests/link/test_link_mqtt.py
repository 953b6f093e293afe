"""What the MQTT link does about networks and brokers that misbehave."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from farshore_protocol.link import Message, Session
from link.brokers import Mosquitto, mqtt_link
from link.peer import PATIENCE_S, Peer
from link.wire import Wire, accepted_ones_are_made
from ports import free_port

CONNACK = b"\x20\x02\x00\x00"
SUBACK = b"\x90\x03\x00\x01\x01"


class FalseBroker(asyncio.Protocol):
    """Answers the packets of one connection with the next of ``replies``; None hangs up."""

    def __init__(self, replies: Iterable[bytes | None], open_ones: set[asyncio.Transport]) -> None:
        self._replies = iter(replies)
        self._open = open_ones

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        reply = next(self._replies, b"")
        if reply is None:
            self._transport.close()
        else:
            self._transport.write(reply)


@asynccontextmanager
async def false_broker(*replies: bytes | None) -> AsyncIterator[int]:
    """A server of such connections; gives its port."""
    loop = asyncio.get_running_loop()
    open_ones: set[asyncio.Transport] = set()
    server = await loop.create_server(lambda: FalseBroker(replies, open_ones), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        await accepted_ones_are_made()
        server.close()
        async with asyncio.timeout(PATIENCE_S):
            while open_ones:
                for transport in open_ones:
                    transport.abort()
                await asyncio.sleep(0)


async def test_a_half_open_connection_is_given_up_and_made_again(
    mosquitto: Mosquitto, peers: list[Peer]
) -> None:
    wire = Wire(mosquitto.port)
    await wire.start()
    try:
        peer = Peer(mqtt_link(wire.port, connect_timeout_s=0.3), "peer", "t")
        peer.template = Session(client_id="peer", filters=("t",), keepalive_s=1)
        peers.append(peer)
        await peer.start()
        loop = asyncio.get_running_loop()
        wire.silent = True
        since = loop.time()
        await peer.until(lambda: peer.downs == 1)
        assert 0.5 < loop.time() - since < 1.5 + 1.0, "1.5 times the keep-alive and one look"
        assert "nothing heard" in peer.reasons[0]
        attempts = len(peer.sessions)
        await peer.until(lambda: len(peer.sessions) >= attempts + 2)
        assert peer.ups == 1, "it accepts, and says nothing: no connection"
        wire.silent = False
        await peer.until(lambda: peer.ups == 2)
        assert peer.link.publish(Message(topic="t", payload=b"x"))
        await peer.until(lambda: peer.payloads == [b"x"])
    finally:
        for each in peers:
            await each.end()
        await wire.stop()


async def test_an_idle_connection_is_kept_alive(mosquitto: Mosquitto, peers: list[Peer]) -> None:
    """Twice the time after which a silent one would have been given up."""
    peer = Peer(mqtt_link(mosquitto.port), "peer", "t")
    peer.template = Session(client_id="peer", filters=("t",), keepalive_s=1)
    peers.append(peer)
    await peer.start()
    with pytest.raises(AssertionError, match="not within"):
        await peer.until(lambda: peer.downs > 0, deadline_s=3.5)


async def test_a_port_that_refuses_is_tried_again(peers: list[Peer]) -> None:
    peer = Peer(mqtt_link(free_port()), "peer")
    peers.append(peer)
    peer.run()
    await peer.until(lambda: len(peer.sessions) >= 4)
    assert peer.heard == []


MISBEHAVIOUR = [
    pytest.param([], id="takes CONNECT and says nothing"),
    pytest.param([CONNACK], id="greets, and never confirms the subscription"),
    pytest.param([b"\x20\x02\x00\x05"], id="refuses the client"),
    pytest.param([b"\x20\x02\x00\x01"], id="refuses the version: paho would dial by itself"),
    pytest.param([CONNACK, b"\x90\x03\x00\x01\x80"], id="refuses the subscription"),
    pytest.param([b"HTTP/1.1 400 Bad Request\r\n\r\n"], id="speaks another protocol"),
    pytest.param([CONNACK + b"\x30\x00"], id="sends a PUBLISH of no bytes"),
    pytest.param([None], id="hangs up"),
]


@pytest.mark.parametrize("replies", MISBEHAVIOUR)
async def test_a_broker_that_misbehaves_is_no_connection_and_leaks_nothing(
    replies: list[bytes | None],
) -> None:
    async with false_broker(*replies) as port:
        peer = Peer(mqtt_link(port, connect_timeout_s=0.1), "peer", "t")
        peer.run()
        await peer.until(lambda: len(peer.sessions) >= 4)
        assert peer.heard == []
        await peer.end()
        assert [f for f in os.listdir("/proc/self/fd") if _is_socket_to(f, port)] == []


def _is_socket_to(descriptor: str, port: int) -> bool:
    """Whether an open descriptor of this process is a TCP connection to ``port``."""
    try:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return False
    with open("/proc/self/net/tcp") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    peer_of = {row[9]: row[2] for row in rows}
    inode = target.removeprefix("socket:[").removesuffix("]")
    return peer_of.get(inode, "").endswith(f":{port:04X}")


async def test_a_topic_that_is_no_text_costs_one_message_only(
    peers: list[Peer], caplog: pytest.LogCaptureFixture
) -> None:
    def publish(topic: bytes, payload: bytes) -> bytes:
        body = struct.pack("!H", len(topic)) + topic + payload
        return bytes((0x30, len(body))) + body

    async with false_broker(
        CONNACK, SUBACK + publish(b"\xff\xfe", b"1") + publish(b"t", b"2")
    ) as port:
        peer = await _running(Peer(mqtt_link(port), "peer", "t"), peers)
        await peer.until(lambda: peer.payloads == [b"2"])
        assert "a received topic is no text" in caplog.messages
        await peer.end()


async def test_a_message_before_the_suback_waits_for_link_up(peers: list[Peer]) -> None:
    async with false_broker(CONNACK, b"\x31\x04\x00\x01tx" + SUBACK) as port:
        peer = await _running(Peer(mqtt_link(port), "peer", "t"), peers)
        await peer.until(lambda: len(peer.heard) == 2)
        early = Message(topic="t", payload=b"x", retain=True)
        assert peer.heard == [("up", 1), early]
        await peer.end()


async def test_close_does_not_wait_for_a_broker_that_says_nothing(peers: list[Peer]) -> None:
    async with false_broker() as port:
        peer = Peer(mqtt_link(port, connect_timeout_s=60), "peer", "t")
        task = peer.run()
        await peer.until(lambda: len(peer.sessions) == 1)
        async with asyncio.timeout(1.0):
            await peer.link.close()
            await task


async def test_close_does_not_wait_for_an_address_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    dialling = asyncio.Event()

    async def never(*_what: object) -> None:
        dialling.set()
        await loop.create_future()

    monkeypatch.setattr(loop, "sock_connect", never)
    peer = Peer(mqtt_link(1, connect_timeout_s=60), "peer")
    task = peer.run()
    async with asyncio.timeout(1.0):
        await dialling.wait()
        await peer.link.close()
        await task
    assert peer.heard == []


async def test_a_name_is_resolved(mosquitto: Mosquitto, peers: list[Peer]) -> None:
    peer = await _running(Peer(mqtt_link(mosquitto.port, host="localhost"), "peer", "t"), peers)
    assert peer.link.publish(Message(topic="t", payload=b"x"))
    await peer.until(lambda: peer.payloads == [b"x"])


async def test_a_name_that_does_not_exist_is_tried_again(peers: list[Peer]) -> None:
    peer = Peer(mqtt_link(1883, host="nowhere.invalid"), "peer")
    peers.append(peer)
    peer.run()
    await peer.until(lambda: len(peer.sessions) >= 3, deadline_s=PATIENCE_S * 2)
    assert peer.heard == []


async def test_a_burst_larger_than_every_buffer_arrives(
    mosquitto: Mosquitto, peers: list[Peer]
) -> None:
    peer = await _running(Peer(mqtt_link(mosquitto.port), "peer", "t"), peers)
    payload = bytes(20_000)
    for _ in range(500):
        assert peer.link.publish(Message(topic="t", payload=payload, qos=1))
    await peer.until(lambda: len(peer.messages) == 500)
    assert peer.heard[0] == ("up", 1)
    assert peer.downs == 0


async def _running(peer: Peer, peers: list[Peer]) -> Peer:
    peers.append(peer)
    return await peer.start()
