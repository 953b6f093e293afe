"""What is decoded, and what is refused as malformed."""

import pytest
from broker.rawclient import (
    connect_packet,
    packet,
    publish_packet,
    subscribe_packet,
    text,
)
from farshore_center.broker import codec
from farshore_center.broker.errors import PeerError
from farshore_center.broker.framing import Frame, FrameSplitter
from hypothesis import given
from hypothesis import strategies as st

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=20
)


def frame(data: bytes) -> Frame:
    (only,) = FrameSplitter(1_000_000).feed(data)
    return only


@given(TEXT, st.binary(max_size=50), st.integers(0, 2), st.booleans(), st.integers(1, 65_535))
def test_a_publish_is_read_as_it_was_written(
    topic: str, payload: bytes, qos: int, retain: bool, packet_id: int
) -> None:
    data = publish_packet(topic, payload, qos=qos, retain=retain, packet_id=packet_id)
    expected = codec.Publish(topic, payload, qos, retain, packet_id if qos else 0)
    assert codec.decode_publish(frame(data)) == expected


@given(
    client_id=st.one_of(TEXT, st.just("")),
    clean=st.booleans(),
    keepalive_s=st.integers(0, 65_535),
    will=st.none() | st.tuples(TEXT, st.binary(max_size=20)),
    username=st.none() | TEXT,
    password=st.none() | st.binary(max_size=20),
)
def test_a_connect_is_read_as_it_was_written(
    client_id: str,
    clean: bool,
    keepalive_s: int,
    will: tuple[str, bytes] | None,
    username: str | None,
    password: bytes | None,
) -> None:
    """Passwords are bytes: they need not be text."""
    if username is None:
        password = None
    data = connect_packet(
        client_id,
        clean=clean,
        keepalive_s=keepalive_s,
        will=will,
        will_qos=1 if will else 0,
        will_retain=bool(will),
        username=username,
        password=password,
    )
    assert codec.decode_connect(frame(data)) == codec.Connect(
        client_id=client_id,
        clean_session=clean,
        keepalive_s=keepalive_s,
        will=codec.Will(topic=will[0], payload=will[1], qos=1, retain=True) if will else None,
        username=username,
        password=password,
    )


def test_subscriptions_are_read_as_they_were_written() -> None:
    data = subscribe_packet("a/#", "b/+/ü", qos=1, packet_id=513)
    assert codec.decode_subscribe(frame(data)) == (513, [("a/#", 1), ("b/+/ü", 1)])
    data = packet(10, b"\x02\x01" + text("a/#") + text("b"), 2)
    assert codec.decode_unsubscribe(frame(data)) == (513, ["a/#", "b"])


GOOD = connect_packet("c", username="u", password=b"p", will=("w", b"x"))[2:]


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("nothing at all", b""),
        ("not MQTT", text("HTTP") + GOOD[6:]),
        ("cut short", GOOD[:-1]),
        ("only the variable header", GOOD[:10]),
        ("spare bytes", GOOD + b"x"),
        ("reserved flag", connect_packet("c", flags=1)[2:]),
        ("password without user name", connect_packet("c", password=b"p")[2:]),
        ("will of QoS 3", connect_packet("c", will=("w", b"x"), will_qos=3)[2:]),
        ("QoS of a will without a will", connect_packet("c", will_qos=1)[2:]),
        ("a will to a filter", connect_packet("c", will=("w/#", b"x"))[2:]),
        ("a client id that is not UTF-8", connect_packet(b"\xff")[2:]),
        ("a client id with NUL", connect_packet("a\0b")[2:]),
    ],
)
def test_a_malformed_connect_is_refused(why: str, body: bytes) -> None:
    with pytest.raises(PeerError) as caught:
        codec.decode_connect(Frame(1, 0, body))
    assert caught.value.refusal.reason == "malformed", why


@pytest.mark.parametrize("data", [connect_packet("c", level=5), connect_packet("c", level=3)])
def test_another_version_of_mqtt_is_told_apart_from_nonsense(data: bytes) -> None:
    with pytest.raises(codec.UnsupportedLevelError):
        codec.decode_connect(frame(data))


@pytest.mark.parametrize(
    ("why", "data", "reason"),
    [
        ("QoS 3", packet(3, text("t") + b"\0\1x", 6), "malformed"),
        ("empty topic", publish_packet("", b"x"), "malformed"),
        ("a wildcard", publish_packet("a/+", b"x"), "malformed"),
        ("NUL in the topic", publish_packet("a\0", b"x"), "malformed"),
        ("packet id 0", publish_packet("t", b"x", qos=1, packet_id=0), "malformed"),
        ("no packet id", packet(3, text("t"), 2), "malformed"),
        ("a topic longer than the packet", packet(3, b"\0\x09t"), "malformed"),
        ("no topic", packet(3, b""), "malformed"),
        ("a topic that is not UTF-8", publish_packet(b"a\xff", b"x" * 50), "not_utf8"),
        ("a surrogate", publish_packet(b"\xed\xa0\x80", b"x" * 50), "not_utf8"),
    ],
)
def test_a_malformed_publish_is_refused(why: str, data: bytes, reason: str) -> None:
    with pytest.raises(PeerError) as caught:
        codec.decode_publish(frame(data))
    assert caught.value.refusal.reason == reason, why


@pytest.mark.parametrize(
    ("why", "body"),
    [
        ("no filter", b"\0\1"),
        ("packet id 0", b"\0\0" + text("a") + b"\0"),
        ("QoS 3", b"\0\1" + text("a") + b"\3"),
        ("no QoS", b"\0\1" + text("a")),
        ("not UTF-8", b"\0\1" + text(b"\xff\xff") + b"\0"),
        ("spare byte", b"\0\1" + text("a") + b"\0\0"),
        ("nothing", b""),
    ],
)
def test_a_malformed_subscribe_is_refused(why: str, body: bytes) -> None:
    with pytest.raises(PeerError):
        codec.decode_subscribe(Frame(8, 2, body))


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("SUBSCRIBE without its flags", packet(8, b"\0\1" + text("a") + b"\0", 0)),
        ("PUBACK with flags", packet(4, b"\0\1", 2)),
        ("PUBACK that is too long", packet(4, b"\0\1\0")),
        ("PINGREQ with a body", packet(12, b"x")),
        ("PUBREL without its flags", packet(6, b"\0\1", 0)),
        ("a server's packet", packet(9, b"\0\1\0")),
        ("reserved type 0", packet(0)),
        ("reserved type 15", packet(15)),
    ],
)
def test_a_wrong_fixed_header_is_refused(why: str, data: bytes) -> None:
    with pytest.raises(PeerError):
        codec.check_flags(frame(data))


@given(st.binary(max_size=60), st.integers(0, 15))
def test_no_body_does_worse_than_a_refusal(body: bytes, flags: int) -> None:
    for decode, kind in (
        (codec.decode_connect, 1),
        (codec.decode_publish, 3),
        (codec.decode_subscribe, 8),
        (codec.decode_unsubscribe, 10),
    ):
        try:
            decode(Frame(kind, flags, body))
        except PeerError:
            continue
