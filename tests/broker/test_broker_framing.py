"""Cutting a stream into packets."""

from contextlib import suppress

import pytest
from broker.rawclient import packet
from farshore_center.broker.errors import PeerError
from farshore_center.broker.framing import Frame, FrameSplitter
from hypothesis import given
from hypothesis import strategies as st

PACKETS = st.lists(
    st.tuples(st.integers(0, 15), st.integers(0, 15), st.binary(max_size=300)), max_size=8
)


@given(PACKETS, st.lists(st.integers(1, 200), max_size=30))
def test_packets_are_the_same_however_the_stream_is_cut(
    packets: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(packet(kind, body, flags) for kind, flags, body in packets)
    splitter = FrameSplitter(300)
    frames: list[Frame] = []
    for size in [*cuts, len(stream)]:
        frames += splitter.feed(stream[:size])
        stream = stream[size:]
    assert frames == [Frame(kind, flags, body) for kind, flags, body in packets]


def test_a_packet_that_is_too_large_is_refused_by_its_header_alone() -> None:
    splitter = FrameSplitter(1_000)
    header = packet(3, bytes(1_001))[:3]
    with pytest.raises(PeerError) as caught:
        list(splitter.feed(header))
    assert caught.value.refusal.reason == "too_large"
    assert list(FrameSplitter(1_000).feed(packet(3, bytes(1_000))))


def test_what_came_before_the_fault_is_still_given() -> None:
    frames = FrameSplitter(10).feed(packet(12) + packet(3, bytes(11)))
    assert next(frames).kind == 12
    with pytest.raises(PeerError):
        next(frames)


def test_a_remaining_length_of_five_bytes_is_malformed() -> None:
    with pytest.raises(PeerError) as caught:
        list(FrameSplitter(1_000).feed(b"\x30\xff\xff\xff\xff\x01"))
    assert caught.value.refusal.reason == "malformed"


@given(st.binary(max_size=200))
def test_no_input_breaks_the_splitter(data: bytes) -> None:
    with suppress(PeerError):
        for frame in FrameSplitter(100).feed(data):
            assert len(frame.body) <= 100
