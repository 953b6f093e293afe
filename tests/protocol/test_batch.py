"""Telemetry batches: columns, compression, and what hostile bytes can do to it."""

import json
import zlib
from contextlib import suppress

import pytest
from farshore_protocol.codec import MAX_MESSAGE_BYTES, decode, encode
from farshore_protocol.errors import MessageError
from farshore_protocol.telemetry import TelemetryBatch, check_batch, inflate, pack_body
from farshore_protocol.telemetry.batch import COMPRESS_ABOVE_BYTES, MAX_INFLATED_BYTES, columns
from hypothesis import given
from hypothesis import strategies as st

SERIES = st.sampled_from(["cpu.percent", "mem.used_bytes", "disk.io"])
VALUES = st.floats(allow_nan=False, allow_infinity=False, width=32)


def batch(m: dict[str, list[float | None]], dt: list[int]) -> TelemetryBatch:
    return TelemetryBatch(epoch="e", seq=1, boot="b", up_ms=1, ts=1, dt=dt, m=m)


@given(st.binary(max_size=4000).map(lambda rest: b"{" + rest) | st.just(b"{" + b" " * 50_000))
def test_inflate_is_the_inverse_of_pack(payload: bytes) -> None:
    packed = pack_body(payload)
    assert inflate(packed) == payload
    assert len(packed) <= len(payload)


def test_only_what_is_long_is_compressed() -> None:
    short = b"{" + b" " * (COMPRESS_ABOVE_BYTES - 1)
    assert pack_body(short) == short
    assert pack_body(short + b" ")[0] == 0x78


@given(st.binary(max_size=300).map(lambda rest: b"\x78" + rest))
def test_hostile_bytes_are_a_message_error(payload: bytes) -> None:
    with suppress(MessageError):
        inflate(payload)


@given(st.data())
def test_a_torn_or_lengthened_stream_is_a_message_error(data: st.DataObject) -> None:
    packed = zlib.compress(b"{" + b"ab" * 2000)
    end = data.draw(st.integers(1, len(packed) - 1))
    for broken in (packed[:end], packed + b"tail"):
        with pytest.raises(MessageError) as caught:
            inflate(broken)
        assert caught.value.reason == "bad_zlib"


def test_a_bomb_stops_at_the_limit() -> None:
    assert len(inflate(zlib.compress(b" " * MAX_INFLATED_BYTES))) == MAX_INFLATED_BYTES
    for size in (MAX_INFLATED_BYTES + 1, 50 * MAX_INFLATED_BYTES):
        bomb = zlib.compress(b" " * size)
        with pytest.raises(MessageError, match="more than"):
            inflate(bomb)


def test_an_inflated_batch_may_be_larger_than_a_packet() -> None:
    large = encode(batch({"cpu.percent": [1.5] * 30_000}, list(range(30_000))))
    assert len(large) > MAX_MESSAGE_BYTES > len(pack_body(large))
    plain = inflate(pack_body(large))
    message = decode(TelemetryBatch, plain, limit_bytes=MAX_INFLATED_BYTES)
    assert len(check_batch(message).dt) == 30_000


@given(st.lists(st.dictionaries(SERIES, VALUES), max_size=8))
def test_columns_hold_every_sample_and_null_where_there_was_none(
    samples: list[dict[str, float]],
) -> None:
    message = check_batch(batch(columns(samples), [1000 * i for i in range(len(samples))]))
    back = decode(TelemetryBatch, encode(message))
    for i, sample in enumerate(samples):
        row = {name: values[i] for name, values in back.m.items() if values[i] is not None}
        assert row == sample


def test_a_series_of_another_length_is_named() -> None:
    uneven = batch({"fine": [1.0, 2.0], "cpu.percent": [1.0]}, [0, 5])
    with pytest.raises(MessageError, match=r"cpu\.percent.*expected 2") as caught:
        check_batch(uneven)
    assert caught.value.reason == "bad_message"


def test_what_is_no_number_travels_as_null() -> None:
    wire = encode(batch({"x": [float("nan"), float("inf"), 1.0]}, [0, 1, 2]))
    assert json.loads(wire)["m"]["x"] == [None, None, 1.0]
    assert decode(TelemetryBatch, wire).m["x"] == [None, None, 1.0]
