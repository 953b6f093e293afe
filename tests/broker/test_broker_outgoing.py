"""What a slow client loses, and in which order."""

import pytest
from broker.rawclient import publish_packet
from farshore_center.broker.outgoing import Outbound, SendQueue


def message(payload: bytes = b"x") -> Outbound:
    return Outbound("t", payload, retain=False)


def queue(*, messages: int = 3, size: int = 1_000, window: int = 2) -> SendQueue:
    return SendQueue(max_messages=messages, max_bytes=size, window=window)


@pytest.mark.parametrize("retain", [False, True])
def test_packets_are_those_of_the_standard(retain: bool) -> None:
    outbound = Outbound("fs1/ü", b"payload", retain=retain)
    assert outbound.at_most_once() == publish_packet("fs1/ü", b"payload", retain=retain)
    for packet_id in (1, 258, 65_535):
        expected = publish_packet("fs1/ü", b"payload", qos=1, packet_id=packet_id, retain=retain)
        assert outbound.at_least_once(packet_id) == expected


def test_order_is_kept_and_the_window_holds_back_what_is_behind_it() -> None:
    out = queue(messages=10)
    for payload, qos in ((b"1", 1), (b"2", 1), (b"3", 1), (b"4", 0)):
        assert out.offer(message(payload), qos)
    assert out.next() == publish_packet("t", b"1", qos=1, packet_id=1)
    assert out.next() == publish_packet("t", b"2", qos=1, packet_id=2)
    assert out.next() is None, "two are unacknowledged"
    out.acknowledge(9)
    assert out.next() is None, "an acknowledgement of nothing opens nothing"
    out.acknowledge(1)
    assert out.next() == publish_packet("t", b"3", qos=1, packet_id=3)
    assert out.next() == publish_packet("t", b"4")
    assert out.next() is None
    assert (len(out), out.inflight, out.dropped) == (0, 2, 0)


def test_qos_0_is_dropped_first_and_only_then_is_the_client_too_slow() -> None:
    out = queue()
    for payload in (b"a", b"b", b"c"):
        assert out.offer(message(payload), 0)
    assert out.offer(message(b"d"), 0), "one more of QoS 0 is dropped, and that is all"
    assert out.dropped == 1
    assert out.offer(message(b"1"), 1), "QoS 1 takes the place of all the QoS 0"
    assert out.dropped == 4
    assert out.offer(message(b"2"), 1)
    assert out.offer(message(b"3"), 1)
    assert not out.offer(message(b"4"), 1), "full of what may not be dropped"
    assert out.next() == publish_packet("t", b"1", qos=1, packet_id=1)


def test_bytes_are_bounded_as_well_as_messages() -> None:
    out = queue(messages=100, size=50)
    assert out.offer(message(bytes(200)), 1), "one message always fits"
    assert not out.offer(message(), 1)
    assert out.next() is not None
    assert out.offer(message(bytes(40)), 1)
    assert not out.offer(message(bytes(40)), 1)


def test_packet_ids_wrap_and_skip_those_under_way() -> None:
    out = queue(messages=2, window=2)
    out.offer(message(), 1)
    assert out.next() == publish_packet("t", b"x", qos=1, packet_id=1)
    for expected in [*range(2, 65_536), 2]:  # 1 has never been acknowledged
        out.offer(message(), 1)
        packet = out.next()
        assert packet is not None
        assert packet[5:7] == expected.to_bytes(2, "big")
        out.acknowledge(expected)
