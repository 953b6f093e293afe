"""The chunk: samples of one node as one compressed blob, and back, bit for bit. Pure.

Layout, little endian:

    magic "FSTC", version, 3 zero bytes, directory length, directory CRC-32
    directory (zstd): instants, series, then per frame length and CRC-32, then the names
    frames (zstd each): the time axis, then one frame per series in the order of the names

Every series is a frame of its own, so a query for two series of eighty decompresses three frames.
What is read is checked first: a damaged blob raises ChunkError and never yields numbers. Why this
and not something ready-made: docs/decisions/0004-telemetry-chunks.md.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import zstandard

from farshore_center.telemetry.columns import (
    pack_column,
    pack_times,
    unpack_column,
    unpack_times,
)
from farshore_center.telemetry.errors import ChunkError
from farshore_center.telemetry.samples import Column, Mask, Samples, Times

VERSION = 1

_MAGIC = b"FSTC"
_ZEROS = bytes(3)
_HEAD = struct.Struct("<4sB3sII")
_COUNTS = struct.Struct("<II")
_LEVEL = 6
# No honest frame is larger; what claims to be is refused before memory is taken for it.
_MAX_FRAME_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    start: int
    length: int
    crc: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Directory:
    instants: int
    time_axis: _Frame
    series: dict[str, _Frame]


def encode(samples: Samples) -> bytes:
    """One blob; the same samples always give the same bytes."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True)
    names = sorted(samples.columns)
    axis = np.packbits(samples.approximate).tobytes() + pack_times(samples.t_ms)
    frames = [compressor.compress(axis)]
    for name in names:
        column = samples.columns[name]
        frames.append(compressor.compress(pack_column(column.present, column.values)))
    lengths = np.array([len(frame) for frame in frames], "<u4")
    checksums = np.array([zlib.crc32(frame) for frame in frames], "<u4")
    directory = compressor.compress(
        _COUNTS.pack(len(samples.t_ms), len(names))
        + lengths.tobytes()
        + checksums.tobytes()
        + "\x00".join(names).encode("utf-8")
    )
    head = _HEAD.pack(_MAGIC, VERSION, _ZEROS, len(directory), zlib.crc32(directory))
    return b"".join([head, directory, *frames])


def decode(blob: bytes, wanted: Callable[[str], bool] = lambda _name: True) -> Samples:
    """The samples of the wanted series; frames of others are not even decompressed."""
    directory = _read_directory(blob)
    t_ms, approximate = _read_axis(blob, directory)
    columns = {}
    for name, frame in directory.series.items():
        if wanted(name):
            present, values = unpack_column(_read_frame(blob, frame), directory.instants)
            columns[name] = Column(present=present, values=values)
    return Samples(t_ms=t_ms, approximate=approximate, columns=columns)


def series_names(blob: bytes) -> list[str]:
    """The names in a blob, from its directory alone."""
    return list(_read_directory(blob).series)


def _read_directory(blob: bytes) -> _Directory:
    if len(blob) < _HEAD.size:
        raise ChunkError("the chunk is shorter than its head")
    magic, version, zeros, length, crc = _HEAD.unpack_from(blob)
    if magic != _MAGIC:
        raise ChunkError("this is no telemetry chunk")
    if version != VERSION:
        raise ChunkError(f"chunk version {version} is unknown; this center reads {VERSION}")
    if zeros != _ZEROS:
        raise ChunkError("the chunk's head is damaged")
    raw = _read_frame(blob, _Frame(start=_HEAD.size, length=length, crc=crc))
    if len(raw) < _COUNTS.size:
        raise ChunkError("the chunk's directory is cut off")
    instants, series = _COUNTS.unpack_from(raw)
    tables_end = _COUNTS.size + 8 * (series + 1)
    if len(raw) < tables_end:
        raise ChunkError("the chunk's directory is cut off")
    lengths = np.frombuffer(raw, "<u4", series + 1, _COUNTS.size).tolist()
    checksums = np.frombuffer(raw, "<u4", series + 1, _COUNTS.size + 4 * (series + 1)).tolist()
    names = _read_names(raw[tables_end:], series)
    frames = []
    start = _HEAD.size + length
    for size, checksum in zip(lengths, checksums, strict=True):
        frames.append(_Frame(start=start, length=size, crc=checksum))
        start += size
    if start != len(blob):
        raise ChunkError("the chunk is cut off or has something behind its end")
    return _Directory(
        instants=instants, time_axis=frames[0], series=dict(zip(names, frames[1:], strict=True))
    )


def _read_names(raw: bytes, count: int) -> list[str]:
    try:
        names = raw.decode("utf-8").split("\x00") if count else []
    except UnicodeDecodeError as exc:
        raise ChunkError("the chunk's names are damaged") from exc
    if len(set(names)) != count:
        raise ChunkError("the chunk's names are damaged")
    return names


def _read_axis(blob: bytes, directory: _Directory) -> tuple[Times, Mask]:
    raw = _read_frame(blob, directory.time_axis)
    count = directory.instants
    at = (count + 7) // 8
    if len(raw) < at:
        raise ChunkError("the chunk's time axis is cut off")
    bits = np.unpackbits(np.frombuffer(raw[:at], np.uint8), count=count)
    return unpack_times(raw[at:], count), bits.astype(np.bool_)


def _read_frame(blob: bytes, frame: _Frame) -> bytes:
    data = blob[frame.start : frame.start + frame.length]
    if len(data) != frame.length or zlib.crc32(data) != frame.crc:
        raise ChunkError("the chunk is damaged: a checksum does not match")
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= _MAX_FRAME_BYTES:
            raise ChunkError(f"the chunk is damaged: a frame claims {size} bytes")
        return zstandard.ZstdDecompressor().decompress(data)
    except zstandard.ZstdError as exc:
        raise ChunkError(f"the chunk is damaged: {exc}") from exc
