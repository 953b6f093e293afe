"""amqtt's packet codecs, made synchronous and strict.

amqtt reads packets from a stream, field by field, and is lenient: invalid UTF-8 becomes the text
``b'…'``, missing fields become None, trailing bytes are left lying. Here a codec runs over a body
that is already complete (so its coroutine never waits), and what it made of it is encoded again:
MQTT has one encoding for everything, so a body that does not come back the same was malformed.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from amqtt.adapters import ReaderAdapter
from amqtt.errors import AMQTTError, CodecError, MQTTError, NoDataError
from amqtt.mqtt.connack import ConnackPacket
from amqtt.mqtt.connect import ConnectPayload, ConnectVariableHeader
from amqtt.mqtt.packet import (
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PUBACK,
    PUBLISH,
    PUBREL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    MQTTFixedHeader,
    PacketIdVariableHeader,
)
from amqtt.mqtt.pingresp import PingRespPacket
from amqtt.mqtt.puback import PubackPacket
from amqtt.mqtt.pubcomp import PubcompPacket
from amqtt.mqtt.publish import PublishPacket
from amqtt.mqtt.pubrec import PubrecPacket
from amqtt.mqtt.suback import SubackPacket
from amqtt.mqtt.subscribe import SubscribePacket
from amqtt.mqtt.unsuback import UnsubackPacket
from amqtt.mqtt.unsubscribe import UnsubscribePacket

from farshore_center.broker.errors import PeerError
from farshore_center.broker.framing import Frame
from farshore_center.broker.topics import is_topic

T = TypeVar("T")

PROTOCOL_LEVEL = 4
"""MQTT 3.1.1."""

ACCEPTED, BAD_LEVEL, BAD_CLIENT_ID, BAD_CREDENTIALS, NOT_AUTHORIZED = 0, 1, 2, 4, 5
SUBSCRIPTION_REFUSED = 0x80

_FLAGS = {CONNECT: 0, PUBACK: 0, PUBREL: 2, SUBSCRIBE: 2, UNSUBSCRIBE: 2, PINGREQ: 0, DISCONNECT: 0}
_LENGTHS = {PUBACK: 2, PUBREL: 2, PINGREQ: 0, DISCONNECT: 0}


class UnsupportedLevelError(PeerError):
    """A CONNECT of another version of MQTT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    client_id: str
    clean_session: bool
    keepalive_s: int
    will: Will | None
    username: str | None
    password: bytes | None


@dataclass(frozen=True, slots=True)
class Publish:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    packet_id: int


class _Body(ReaderAdapter):  # type: ignore[misc]  # amqtt is untyped here
    """A complete body as the stream that amqtt reads from."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self.last = b""
        """What was read last: a password's bytes, before amqtt made text of them."""

    async def read(self, n: int = -1) -> bytes:
        end = len(self._body) if n < 0 else self._at + n
        self.last = self._body[self._at : end]
        self._at = min(end, len(self._body))
        return self.last

    def feed_eof(self) -> None:
        """Nothing to do: the body is complete from the start."""


def _decode(decoding: Coroutine[Any, Any, T], what: str) -> T:
    """Run a decoder over a ``_Body``: it never waits, so one step finishes it."""
    try:
        decoding.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    except (AMQTTError, MQTTError, CodecError, NoDataError, ValueError) as exc:
        raise PeerError("malformed", f"{what}: {exc}") from exc
    raise AssertionError("a decoder waited for a body that is complete")


def check_flags(frame: Frame) -> None:
    """The fixed header of everything but PUBLISH is fixed indeed (MQTT-2.2.2-2)."""
    if frame.kind not in _FLAGS:
        raise PeerError("malformed", f"packet type {frame.kind} is not for a client to send")
    if frame.flags != _FLAGS[frame.kind] or len(frame.body) != _LENGTHS.get(
        frame.kind, len(frame.body)
    ):
        raise PeerError("malformed", f"packet type {frame.kind}: wrong flags or length")


def decode_connect(frame: Frame) -> Connect:
    body = _Body(frame.body)
    header = _decode(ConnectVariableHeader.from_stream(body, None), "CONNECT")
    if header.proto_name not in ("MQTT", "MQIsdp"):
        raise PeerError("malformed", "CONNECT: not MQTT")
    if header.proto_name != "MQTT" or header.proto_level != PROTOCOL_LEVEL:
        raise UnsupportedLevelError("bad_level", f"MQTT level {header.proto_level}, expected 4")
    payload = _decode(ConnectPayload.from_stream(body, None, header), "CONNECT")
    password = _take_password(body, header, payload)
    if payload.client_id_is_random:
        payload.client_id = ""  # as it was sent; the name that amqtt made up is not used
    sent = frame.body[: len(frame.body) - (0 if password is None else len(password) + 2)]
    if bytes(header.to_bytes() + payload.to_bytes(None, header)) != sent:
        raise PeerError("malformed", "CONNECT: missing, spare or undecodable fields")
    _check_connect_flags(header)
    if "\0" in payload.client_id + (payload.username or ""):
        raise PeerError("malformed", "CONNECT: NUL in a text")
    return Connect(
        client_id=payload.client_id,
        clean_session=header.clean_session_flag,
        keepalive_s=header.keep_alive,
        will=_will(header, payload),
        username=payload.username,
        password=password,
    )


def _take_password(body: _Body, header: Any, payload: Any) -> bytes | None:
    """The password's own bytes, which need not be text; it is the last field of a CONNECT."""
    if not header.password_flag or payload.password is None:
        return None
    password = body.last if payload.password else b""
    payload.password = None
    return password


def _check_connect_flags(header: Any) -> None:
    if header.reserved_flag:
        raise PeerError("malformed", "CONNECT: reserved flag set")
    if header.password_flag and not header.username_flag:
        raise PeerError("malformed", "CONNECT: a password without a user name")
    if header.will_qos > 2 or (
        not header.will_flag and (header.will_qos != 0 or header.will_retain_flag)
    ):
        raise PeerError("malformed", "CONNECT: impossible flags of a will")


def _will(header: Any, payload: Any) -> Will | None:
    if not header.will_flag:
        return None
    if not is_topic(payload.will_topic):
        raise PeerError("malformed", "CONNECT: the will's topic is not a topic")
    return Will(
        topic=payload.will_topic,
        payload=bytes(payload.will_message),
        qos=min(header.will_qos, 1),
        retain=header.will_retain_flag,
    )


def decode_publish(frame: Frame) -> Publish:
    fixed = MQTTFixedHeader(PUBLISH, frame.flags, len(frame.body))
    qos = frame.flags >> 1 & 3
    if qos == 3:
        raise PeerError("malformed", "PUBLISH: QoS 3")
    packet: Any = _decode(PublishPacket.from_stream(_Body(frame.body), fixed), "PUBLISH")
    topic: str = packet.topic_name
    encoded = topic.encode()
    if frame.body[2 : 2 + len(encoded)] != encoded:
        raise PeerError("not_utf8", "PUBLISH: the topic is not UTF-8")
    if not is_topic(topic):
        raise PeerError("malformed", "PUBLISH: the topic is empty or holds a wildcard or NUL")
    if qos and not packet.packet_id:
        raise PeerError("malformed", "PUBLISH: packet id 0")
    return Publish(topic, packet.data, qos, bool(frame.flags & 1), packet.packet_id or 0)


def decode_subscribe(frame: Frame) -> tuple[int, list[tuple[str, int]]]:
    packet_id, topics = _decode_filters(frame, SubscribePacket, "SUBSCRIBE")
    if any(qos > 2 for _, qos in topics):
        raise PeerError("malformed", "SUBSCRIBE: QoS above 2")
    return packet_id, topics


def decode_unsubscribe(frame: Frame) -> tuple[int, list[str]]:
    return _decode_filters(frame, UnsubscribePacket, "UNSUBSCRIBE")


def _decode_filters(frame: Frame, kind: Any, what: str) -> tuple[int, list[Any]]:
    fixed = MQTTFixedHeader(frame.kind, frame.flags, len(frame.body))
    packet = _decode(kind.from_stream(_Body(frame.body), fixed), what)
    if packet.variable_header.to_bytes() + packet.payload.to_bytes() != frame.body:
        raise PeerError("malformed", f"{what}: missing, spare or undecodable fields")
    packet_id: int = packet.variable_header.packet_id
    topics: list[Any] = packet.payload.topics
    if not topics or not packet_id:
        raise PeerError("malformed", f"{what}: no filter, or packet id 0")
    return packet_id, topics


def decode_packet_id(frame: Frame) -> int:
    """Of a PUBACK or a PUBREL, whose length has been checked."""
    return int(
        _decode(PacketIdVariableHeader.from_stream(_Body(frame.body)), "packet id").packet_id
    )


def connack(code: int) -> bytes:
    # Session present is never set: no state outlives a connection.
    return bytes(ConnackPacket.build(0, code).to_bytes())


def suback(packet_id: int, codes: list[int]) -> bytes:
    return bytes(SubackPacket.build(packet_id, codes).to_bytes())


def unsuback(packet_id: int) -> bytes:
    return bytes(UnsubackPacket.build(packet_id).to_bytes())


def puback(packet_id: int) -> bytes:
    return bytes(PubackPacket.build(packet_id).to_bytes())


def pubrec(packet_id: int) -> bytes:
    return bytes(PubrecPacket.build(packet_id).to_bytes())


def pubcomp(packet_id: int) -> bytes:
    return bytes(PubcompPacket.build(packet_id).to_bytes())


def pingresp() -> bytes:
    return bytes(PingRespPacket.build().to_bytes())


def publish(topic: str, payload: bytes, *, qos: int, retain: bool) -> bytes:
    """With packet id 0 where there is one: each receiver writes its own into it."""
    packet = PublishPacket.build(topic, payload, 0 if qos else None, False, qos, retain)
    return bytes(packet.to_bytes())
