"""An MQTT 3.1.1 client written byte by byte: the tests' own reading of the standard.

It shares no code with the broker, sends what no well-behaved client sends, and says exactly what
came back. Every wait has a deadline.
"""

import asyncio
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Self

DEADLINE_S = 20.0

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, PINGREQ, PINGRESP, DISCONNECT = range(8, 15)


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def packet(kind: int, body: bytes = b"", flags: int = 0) -> bytes:
    length, out = len(body), bytearray([kind << 4 | flags])
    while True:
        length, byte = length >> 7, length & 0x7F
        out.append(byte | (0x80 if length else 0))
        if not length:
            return bytes(out) + body


def connect_packet(
    client_id: str | bytes,
    *,
    clean: bool = True,
    keepalive_s: int = 0,
    will: tuple[str, bytes] | None = None,
    will_retain: bool = False,
    will_qos: int = 0,
    username: str | None = None,
    password: bytes | None = None,
    level: int = 4,
    flags: int = 0,
) -> bytes:
    flags |= clean << 1 | (will is not None) << 2 | will_qos << 3 | will_retain << 5
    flags |= (username is not None) << 7 | (password is not None) << 6
    body = text("MQTT") + bytes([level, flags]) + struct.pack("!H", keepalive_s) + text(client_id)
    if will is not None:
        body += text(will[0]) + text(will[1])
    if username is not None:
        body += text(username)
    if password is not None:
        body += text(password)
    return packet(CONNECT, body)


def publish_packet(
    topic: str | bytes, payload: bytes, *, qos: int = 0, packet_id: int = 1, retain: bool = False
) -> bytes:
    number = struct.pack("!H", packet_id) if qos else b""
    return packet(PUBLISH, text(topic) + number + payload, qos << 1 | retain)


def subscribe_packet(*filters: str, qos: int = 0, packet_id: int = 1) -> bytes:
    body = struct.pack("!H", packet_id) + b"".join(text(f) + bytes([qos]) for f in filters)
    return packet(SUBSCRIBE, body, 2)


async def small_buffered_socket(port: int) -> socket.socket:
    """For a client that won't read: the kernel takes in as little as it can, and not 32 MB."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(
        cls, port: int, *, tls: ssl.SSLContext | None = None, small_buffer: bool = False
    ) -> Self:
        if small_buffer:
            return cls(*await asyncio.open_connection(sock=await small_buffered_socket(port)))
        name = "localhost" if tls else None
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))

    @classmethod
    async def connect(
        cls,
        port: int,
        client_id: str,
        *,
        tls: ssl.SSLContext | None = None,
        small_buffer: bool = False,
        **options: object,
    ) -> Self:
        """Connect and be accepted."""
        client = await cls.open(port, tls=tls, small_buffer=small_buffer)
        client.send(connect_packet(client_id, **options))  # type: ignore[arg-type]  # passed on
        assert await client.receive() == (CONNACK, 0, b"\x00\x00")
        return client

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self) -> tuple[int, int, bytes]:
        """The next packet."""
        async with asyncio.timeout(DEADLINE_S):
            first = (await self.reader.readexactly(1))[0]
            length = shift = 0
            while True:
                byte = (await self.reader.readexactly(1))[0]
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            return first >> 4, first & 0x0F, await self.reader.readexactly(length)

    async def expect(self, kind: int) -> bytes:
        """The next packet's body; it must be of this kind."""
        got, _, body = await self.receive()
        assert got == kind, f"expected packet type {kind}, got {got}: {body!r}"
        return body

    async def message(self) -> Message:
        """The next packet, which must be a PUBLISH; QoS 1 is acknowledged."""
        kind, flags, body = await self.receive()
        assert kind == PUBLISH, f"expected a PUBLISH, got {kind}: {body!r}"
        size = struct.unpack("!H", body[:2])[0]
        topic, rest, qos, packet_id = (
            body[2 : 2 + size].decode(),
            body[2 + size :],
            flags >> 1 & 3,
            0,
        )
        if qos:
            packet_id, rest = struct.unpack("!H", rest[:2])[0], rest[2:]
            self.send(packet(PUBACK, struct.pack("!H", packet_id)))
        return Message(topic, rest, qos, bool(flags & 1), packet_id)

    async def subscribe(self, *filters: str, qos: int = 0) -> bytes:
        """Subscribe; the granted codes. Nothing else may arrive before them."""
        self.send(subscribe_packet(*filters, qos=qos, packet_id=77))
        body = await self.expect(SUBACK)
        assert body[:2] == b"\x00\x4d"
        return body[2:]

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """With QoS 1, acknowledged."""
        self.send(publish_packet(topic, payload, qos=1, packet_id=99, retain=retain))
        assert await self.expect(PUBACK) == b"\x00\x63"

    async def nothing_before_pong(self) -> None:
        """All that the broker had for us is behind us: the answer to a ping comes next."""
        self.send(packet(PINGREQ))
        assert await self.receive() == (PINGRESP, 0, b"")

    async def closed(self) -> bytes:
        """Wait until the broker has closed the connection; what it sent before that."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def cut(self) -> None:
        """Vanish without DISCONNECT."""
        self.writer.transport.abort()

    async def disconnect(self) -> None:
        self.send(packet(DISCONNECT))
        await self.closed()
        self.writer.close()
