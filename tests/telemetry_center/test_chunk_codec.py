"""Promises of the chunk: back bit for bit, only what is asked for, never garbage."""

import struct

import numpy as np
import pytest
import zstandard
from farshore_center.telemetry import chunk
from farshore_center.telemetry.columns import pack_column
from farshore_center.telemetry.errors import BatchError, ChunkError
from farshore_center.telemetry.samples import Batch, Samples, check_batch, from_batches, merge
from hypothesis import given
from hypothesis import strategies as st
from telemetry_center.samples_strategies import (
    NAMES,
    T0_MS,
    any_float,
    batches,
    measured,
    rows_of_batches,
    rows_of_samples,
)


def _eighty() -> Samples:
    rng = np.random.default_rng(1)
    series = {f"s{n:02d}": np.round(rng.normal(50, 5, 200), 1).tolist() for n in range(80)}
    return from_batches([Batch(ts_ms=T0_MS, dt_ms=list(range(0, 1_000_000, 5000)), series=series)])


@given(st.lists(batches(), max_size=8))
def test_batches_come_back_bit_for_bit(given_batches: list[Batch]) -> None:
    blob = chunk.encode(from_batches(given_batches))
    assert rows_of_samples(chunk.decode(blob)) == rows_of_batches(given_batches)


@given(st.lists(st.one_of(any_float, measured), max_size=40), st.lists(st.booleans(), max_size=40))
def test_any_column_comes_back_bit_for_bit(values: list[float], nulls: list[bool]) -> None:
    series = [None if null else value for value, null in zip(values, nulls, strict=False)]
    if not series:
        return
    batch = Batch(ts_ms=0, dt_ms=list(range(len(series))), series={"s": series})
    decoded = chunk.decode(chunk.encode(from_batches([batch])))
    assert rows_of_samples(decoded) == rows_of_batches([batch])


@given(st.lists(st.lists(batches(), max_size=3), max_size=4))
def test_merged_chunks_hold_what_the_batches_held(parts: list[list[Batch]]) -> None:
    merged = merge([from_batches(part) for part in parts])
    together = rows_of_batches([batch for part in parts for batch in part])
    assert rows_of_samples(chunk.decode(chunk.encode(merged))) == together


def test_infinities_survive_and_every_nan_is_null() -> None:
    strange = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_1234))[0]
    series = {"s": [float("inf"), float("-inf"), float("nan"), strange, 1.5]}
    samples = from_batches([Batch(ts_ms=0, dt_ms=[0, 1, 2, 3, 4], series=series)])
    values = chunk.decode(chunk.encode(samples)).columns["s"].values
    assert values[:2].tolist() == [float("inf"), float("-inf")]
    assert np.isnan(values[2:4]).all()
    assert values[4] == 1.5


def test_the_same_samples_give_the_same_bytes() -> None:
    assert chunk.encode(_eighty()) == chunk.encode(_eighty())


def test_a_query_for_two_series_of_eighty_opens_three_frames(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blob = chunk.encode(_eighty())
    opened = []
    real = zstandard.ZstdDecompressor

    class Counting:
        def decompress(self, data: bytes) -> bytes:
            opened.append(len(data))
            return real().decompress(data)

    monkeypatch.setattr(zstandard, "ZstdDecompressor", Counting)
    decoded = chunk.decode(blob, {"s03", "s77"}.__contains__)
    directory_and_axis = 2
    assert len(opened) == directory_and_axis + 2
    assert list(decoded.columns) == ["s03", "s77"]
    assert decoded.columns["s77"].values.tolist() == _eighty().columns["s77"].values.tolist()


def test_names_are_read_from_the_directory_alone() -> None:
    samples = from_batches([Batch(ts_ms=0, dt_ms=[0], series={name: [1] for name in NAMES})])
    assert chunk.series_names(chunk.encode(samples)) == sorted(NAMES)


def test_every_damaged_byte_is_noticed() -> None:
    series: dict[str, list[float | None]] = {"a": [1.5, None, 2.25], "b": [7.0, 8.0, 9.0]}
    blob = chunk.encode(from_batches([Batch(ts_ms=T0_MS, dt_ms=[0, 5, 10], series=series)]))
    for position in range(len(blob)):
        damaged = bytearray(blob)
        damaged[position] ^= 0x10
        with pytest.raises(ChunkError):
            chunk.decode(bytes(damaged))


@given(st.integers(0, 10_000))
def test_a_blob_of_any_other_length_is_refused(length: int) -> None:
    blob = chunk.encode(_eighty())
    for other in (blob[: length % len(blob)], blob + bytes(1 + length % 7)):
        with pytest.raises(ChunkError):
            chunk.decode(other)


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for blob in (noise, b"FSTC" + noise, b"FSTC\x01\0\0\0" + noise):
        with pytest.raises(ChunkError):
            chunk.decode(blob)


def test_a_chunk_of_a_later_version_is_refused_by_number() -> None:
    blob = bytearray(chunk.encode(_eighty()))
    blob[4] = 2
    with pytest.raises(ChunkError, match="version 2 is unknown"):
        chunk.decode(bytes(blob))


@pytest.mark.parametrize(
    ("what", "values", "at_most"),
    [
        ("a percentage with one decimal", np.round(np.linspace(3, 9, 5000), 1), 1.1),
        ("a counter of bytes", np.cumsum(np.arange(5000) % 1400.0), 2.1),
        ("a constant", np.full(5000, 6.3e10), 1.1),
    ],
)
def test_measurements_take_few_bytes_before_compression_even_begins(
    what: str, values: np.ndarray[tuple[int], np.dtype[np.float64]], at_most: float
) -> None:
    assert len(pack_column(np.ones(5000, np.bool_), values)) / 5000 <= at_most, what


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (Batch(ts_ms=0, dt_ms=[], series={}), "no samples"),
        (Batch(ts_ms=0, dt_ms=[0, 1], series={"s": [1.0]}), "'s' has 1 values"),
        (Batch(ts_ms=0, dt_ms=[0], series={"": [1.0]}), "empty"),
        (Batch(ts_ms=0, dt_ms=[0], series={"a\0b": [1.0]}), "NUL"),
        (Batch(ts_ms=0, dt_ms=[0], series={"s": ["1"]}), "neither a number"),  # type: ignore[list-item]
        (Batch(ts_ms=0, dt_ms=[0.5], series={}), "whole number"),  # type: ignore[list-item]
    ],
)
def test_a_batch_that_could_not_be_read_back_is_refused(batch: Batch, said: str) -> None:
    with pytest.raises(BatchError, match=said):
        check_batch(batch)
