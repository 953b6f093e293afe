"""How one column of numbers becomes few bytes, and back to the same bits. Pure; numpy only.

Integers: zigzag, in as few bytes each as the largest needs, byte planes apart (the high planes are
almost constant, which is what zstd is good at). Values that are decimals with few digits, as most
measurements are, become integers with a power of ten; everything else keeps its 64 bits, in
planes. Compression and checksums are the chunk's business.
"""

import struct

import numpy as np
import numpy.typing as npt

from farshore_center.telemetry.errors import ChunkError
from farshore_center.telemetry.samples import Mask, Times, Values

# How the values of a column are written.
_FLOAT = 0  # 64 bits each
_OFFSET = 1  # integers, relative to the first
_DELTA = 2  # integers, relative to the one before

_MAX_DECIMALS = 6
# Below this, an integer and its neighbours are exact in a float64.
_EXACT = 2.0**53
_COLUMN_HEAD = struct.Struct("<BBBxII")
_INTEGER_HEAD = struct.Struct("<Bq")
_WIDTHS = (1, 2, 4, 8)

Integers = npt.NDArray[np.int64]


def pack_times(t_ms: Times) -> bytes:
    """Delta of delta: a regular interval is a row of zeros."""
    return _pack_integers(np.diff(np.diff(t_ms, prepend=0), prepend=0))


def unpack_times(data: bytes, count: int) -> Times:
    values, used = _unpack_integers(data, count)
    _expect_end(data, used)
    with np.errstate(over="ignore"):
        return np.cumsum(np.cumsum(values))


def pack_column(present: Mask, values: Values) -> bytes:
    """`values` are those of the present rows; NaN is null."""
    null = np.isnan(values)
    numbers = values[~null]
    has_gaps = not bool(present.all())
    has_nulls = bool(null.any())
    mode, decimals, body = _pack_values(numbers)
    head = _COLUMN_HEAD.pack(has_gaps | has_nulls << 1, mode, decimals, len(values), len(numbers))
    masks = (np.packbits(present).tobytes() if has_gaps else b"") + (
        np.packbits(null).tobytes() if has_nulls else b""
    )
    return head + masks + body


def unpack_column(data: bytes, rows: int) -> tuple[Mask, Values]:
    try:
        flags, mode, decimals, count, numbers = _COLUMN_HEAD.unpack_from(data)
    except struct.error as exc:
        raise ChunkError("a column is cut off") from exc
    at = _COLUMN_HEAD.size
    present, at = _unpack_mask(data, at, rows, given=bool(flags & 1), default=True)
    null, at = _unpack_mask(data, at, count, given=bool(flags & 2), default=False)
    if np.count_nonzero(present) != count or count - np.count_nonzero(null) != numbers:
        raise ChunkError("a column's counts contradict its masks")
    values = np.full(count, np.nan)
    values[~null] = _unpack_values(data[at:], numbers, mode, decimals)
    return present, values


def _pack_values(numbers: Values) -> tuple[int, int, bytes]:
    found = _as_decimals(numbers)
    if found is None:
        planes = numbers.view(np.uint8).reshape(-1, 8).T
        return _FLOAT, 0, planes.tobytes()
    decimals, integers = found
    first = integers[:1]
    delta = np.diff(integers, prepend=first)
    offset = integers - first if len(integers) else integers
    # Noise around a level is smaller against the level, a slope is smaller against its neighbour.
    use_delta = bool(np.abs(delta).sum(dtype=np.float64) < np.abs(offset).sum(dtype=np.float64))
    start = struct.pack("<q", int(first[0]) if len(first) else 0)
    mode = _DELTA if use_delta else _OFFSET
    return mode, decimals, start + _pack_integers(delta if use_delta else offset)


def _as_decimals(numbers: Values) -> tuple[int, Integers] | None:
    """The fewest decimals with which every value is an exact decimal number."""
    if not bool(np.isfinite(numbers).all()):
        return None
    if bool(((numbers == 0) & np.signbit(numbers)).any()):
        return None  # minus zero has no integer
    for decimals in range(_MAX_DECIMALS + 1):
        scale = 10.0**decimals
        with np.errstate(over="ignore"):
            scaled = np.round(numbers * scale)
        if not bool((np.abs(scaled) < _EXACT).all()):
            return None
        if bool((scaled / scale == numbers).all()):
            return decimals, scaled.astype(np.int64)
    return None


def _unpack_values(data: bytes, count: int, mode: int, decimals: int) -> Values:
    if mode == _FLOAT:
        if len(data) != count * 8:
            raise ChunkError("a column of floats has the wrong length")
        planes = np.frombuffer(data, np.uint8).reshape(8, count)
        return np.ascontiguousarray(planes.T).view(np.float64).reshape(count)
    if mode not in (_OFFSET, _DELTA) or decimals > _MAX_DECIMALS or len(data) < 8:
        raise ChunkError("a column is written in an unknown way")
    (first,) = struct.unpack_from("<q", data)
    integers, used = _unpack_integers(data[8:], count)
    _expect_end(data, used + 8)
    if mode == _DELTA:
        integers = np.cumsum(integers)
    values: Values = (integers + first) / 10.0**decimals
    return values


def _pack_integers(values: Integers) -> bytes:
    zigzag = ((values << 1) ^ (values >> 63)).view(np.uint64)
    largest = int(zigzag.max()) if len(zigzag) else 0
    width = next(width for width in _WIDTHS if largest < 1 << 8 * width)
    planes = zigzag.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].T
    return _INTEGER_HEAD.pack(width, len(values)) + planes.tobytes()


def _unpack_integers(data: bytes, count: int) -> tuple[Integers, int]:
    try:
        width, stored = _INTEGER_HEAD.unpack_from(data)
    except struct.error as exc:
        raise ChunkError("a row of integers is cut off") from exc
    end = _INTEGER_HEAD.size + width * count
    if width not in _WIDTHS or stored != count or len(data) < end:
        raise ChunkError("a row of integers has the wrong length")
    raw = np.frombuffer(data, np.uint8, width * count, _INTEGER_HEAD.size)
    wide = np.zeros((count, 8), np.uint8)
    wide[:, :width] = raw.reshape(width, count).T
    zigzag = wide.view("<u8").reshape(count)
    return (zigzag >> np.uint64(1)).astype(np.int64) ^ -(zigzag & np.uint64(1)).astype(
        np.int64
    ), end


def _unpack_mask(
    data: bytes, at: int, count: int, *, given: bool, default: bool
) -> tuple[Mask, int]:
    if not given:
        return np.full(count, default, np.bool_), at
    end = at + (count + 7) // 8
    if len(data) < end:
        raise ChunkError("a mask is cut off")
    bits = np.unpackbits(np.frombuffer(data[at:end], np.uint8), count=count)
    return bits.astype(np.bool_), end


def _expect_end(data: bytes, used: int) -> None:
    if len(data) != used:
        raise ChunkError("there are bytes behind the last number")
