"""A lean MQTT 3.1.1 client for measuring: packets are made ahead, a batch of them is one write.

Clean sessions, QoS 0 and 1. It neither reconnects nor sends pings, and believes what the broker
says: for brokers on the same machine, for seconds.
"""

import asyncio
from collections.abc import Callable, Sequence

from bench.errors import BenchError

CONNACK, PUBLISH, PUBACK, SUBACK = 2, 3, 4, 9
DEADLINE_S = 10.0


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def packet(first: int, body: bytes) -> bytes:
    length, out = len(body), bytearray([first])
    while True:
        length, byte = length >> 7, length & 0x7F
        out.append(byte | (0x80 if length else 0))
        if not length:
            return bytes(out) + body


def connect_packet(client_id: str) -> bytes:
    clean, keepalive_s = 0x02, 0
    head = _text("MQTT") + bytes([4, clean]) + keepalive_s.to_bytes(2, "big")
    return packet(0x10, head + _text(client_id))


def subscribe_packet(topic_filter: str, qos: int) -> bytes:
    return packet(0x82, b"\x00\x01" + _text(topic_filter) + bytes([qos]))


def publish_packet(topic: str, payload: bytes, *, packet_id: int, retain: bool = False) -> bytes:
    """With QoS 1."""
    return packet(0x32 | retain, _text(topic) + packet_id.to_bytes(2, "big") + payload)


def split(buffer: bytearray) -> tuple[list[tuple[int, bytes]], int]:
    """The complete packets at the front, as (first byte, body), and how many bytes they are."""
    found: list[tuple[int, bytes]] = []
    at, size = 0, len(buffer)
    while at + 2 <= size:
        body, length, shift = at + 1, 0, 0
        while body < size:
            byte = buffer[body]
            length |= (byte & 0x7F) << shift
            shift += 7
            body += 1
            if byte < 0x80:
                break
        else:
            break
        if body + length > size:
            break
        found.append((buffer[at], bytes(buffer[body : body + length])))
        at = body + length
    return found, at


class Client(asyncio.Protocol):
    """One connection. ``on_message``: topic and payload of what is received, QoS 1 already
    acknowledged."""

    def __init__(self, on_message: Callable[[str, bytes], None] = lambda _topic, _payload: None):
        self._on_message = on_message
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._packets: Sequence[bytes] = ()
        self._next = 0
        self._under_way = 0
        self._window = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._acknowledged: asyncio.Future[None] | None = None

    @classmethod
    async def connect(
        cls,
        port: int,
        client_id: str,
        on_message: Callable[[str, bytes], None] = lambda _topic, _payload: None,
    ) -> "Client":
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(lambda: cls(on_message), "127.0.0.1", port)
        try:
            answer = await client._ask(connect_packet(client_id))
            if answer != b"\x00\x00":
                raise BenchError(f"CONNACK {answer.hex()}: the broker does not take {client_id}")
        except BaseException:
            client.close()
            raise
        return client

    async def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        answer = await self._ask(subscribe_packet(topic_filter, qos))
        if answer[2:] != bytes([qos]):
            raise BenchError(f"SUBACK {answer.hex()}: {topic_filter} is not granted")

    async def publish_all(self, packets: Sequence[bytes], window: int) -> None:
        """Sends QoS 1 packets, at most ``window`` of them unacknowledged; returns at the last
        PUBACK. Their packet ids are the caller's."""
        self._packets, self._next, self._window = packets, 0, window
        self._acknowledged = asyncio.get_running_loop().create_future()
        self._pump()
        await self._acknowledged

    def send(self, publish: bytes) -> None:
        """One QoS 1 packet, at once; nobody waits for its PUBACK. Not beside ``publish_all``."""
        self._under_way += 1
        self._write(publish)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.write(b"\xe0\x00")
            self._transport.close()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 # create_connection makes one
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        for waiting in (self._answer, self._acknowledged):
            if waiting is not None and not waiting.done():
                waiting.set_exception(BenchError(f"the broker closed the connection: {exc}"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        found, used = split(self._buffer)
        del self._buffer[:used]
        acks = bytearray()
        for first, body in found:
            kind = first >> 4
            if kind == PUBACK:
                self._under_way -= 1
            elif kind == PUBLISH:
                start = 2 + int.from_bytes(body[:2], "big")
                topic = body[2:start].decode()
                if first & 0x06:
                    acks += b"\x40\x02" + body[start : start + 2]
                    start += 2
                self._on_message(topic, body[start:])
            elif kind in (CONNACK, SUBACK) and self._answer is not None:
                self._answer.set_result(body)
        if acks:
            self._write(bytes(acks))
        self._pump()

    async def _ask(self, question: bytes) -> bytes:
        self._answer = asyncio.get_running_loop().create_future()
        self._write(question)
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self._answer
        except TimeoutError as exc:
            raise BenchError(f"no answer from the broker within {DEADLINE_S:g} s") from exc

    def _pump(self) -> None:
        if self._acknowledged is None or self._acknowledged.done():
            return
        room = min(self._window - self._under_way, len(self._packets) - self._next)
        if room > 0:
            self._write(b"".join(self._packets[self._next : self._next + room]))
            self._next += room
            self._under_way += room
        elif self._under_way == 0:
            self._acknowledged.set_result(None)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
