"""Samples of one node in memory: a time axis and columns over it. Pure; numpy only.

A column says for each instant whether the series was there at all: a series that was not part of
a batch is absent, a value that could not be measured is null (NaN in `values`). The two are kept
apart, because a query returns nulls as gaps and absent samples not at all.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from farshore_center.telemetry.errors import BatchError

Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_NUMBERS = frozenset({int, float, type(None)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One accepted batch of a node; `ts_ms` is the corrected wall clock of offset 0."""

    ts_ms: int
    dt_ms: Sequence[int]
    series: Mapping[str, Sequence[float | None]]
    approximate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Column:
    """One series: where it is present, and its values there (NaN is null)."""

    present: Mask
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """`t_ms` ascends; equal instants are separate entries, in the order of arrival."""

    t_ms: Times
    approximate: Mask
    columns: Mapping[str, Column]


def check_batch(batch: Batch) -> None:
    """Raises BatchError for what could not be read back."""
    count = len(batch.dt_ms)
    if count == 0:
        raise BatchError("the batch has no samples: dt is empty")
    if set(map(type, batch.dt_ms)) != {int}:
        raise BatchError("dt has an offset that is no whole number of milliseconds")
    for name, values in batch.series.items():
        if len(values) != count:
            raise BatchError(
                f"series {name!r} has {len(values)} values where dt has {count} offsets"
            )
        if not _NUMBERS.issuperset(map(type, values)):
            raise BatchError(f"series {name!r} has a value that is neither a number nor null")
        if not name or "\x00" in name:
            raise BatchError(f"series name {name!r} is empty or holds a NUL character")


def from_batches(batches: Sequence[Batch]) -> Samples:
    """Lays many batches, in any order, over one ascending time axis."""
    counts = [len(batch.dt_ms) for batch in batches]
    total = sum(counts)
    t_ms = np.empty(total, np.int64)
    approximate = np.zeros(total, np.bool_)
    present: dict[str, Mask] = {}
    values: dict[str, Values] = {}
    start = 0
    for batch, count in zip(batches, counts, strict=True):
        rows = slice(start, start + count)
        t_ms[rows] = np.asarray(batch.dt_ms, np.int64) + batch.ts_ms
        approximate[rows] = batch.approximate
        for name, column in batch.series.items():
            if name not in values:
                present[name] = np.zeros(total, np.bool_)
                values[name] = np.empty(total, np.float64)
            present[name][rows] = True
            # None becomes NaN: null.
            values[name][rows] = np.array(column, np.float64)
        start += count
    return _ordered(t_ms, approximate, present, values)


def merge(parts: Sequence[Samples]) -> Samples:
    """Lays several pieces, which may overlap in time, over one axis."""
    total = sum(len(part.t_ms) for part in parts)
    names = dict.fromkeys(name for part in parts for name in part.columns)
    present = {name: np.zeros(total, np.bool_) for name in names}
    values = {name: np.empty(total, np.float64) for name in names}
    start = 0
    for part in parts:
        rows = slice(start, start + len(part.t_ms))
        for name, column in part.columns.items():
            present[name][rows] = column.present
            values[name][rows][column.present] = column.values
        start = rows.stop
    t_ms = _concatenate([part.t_ms for part in parts], np.int64)
    approximate = _concatenate([part.approximate for part in parts], np.bool_)
    return _ordered(t_ms, approximate, present, values)


def _concatenate(
    arrays: Iterable[npt.NDArray[np.generic]], dtype: npt.DTypeLike
) -> npt.NDArray[np.generic]:
    return np.concatenate([np.empty(0, dtype), *arrays])


def _ordered(
    t_ms: npt.NDArray[np.generic],
    approximate: npt.NDArray[np.generic],
    present: Mapping[str, Mask],
    values: Mapping[str, Values],
) -> Samples:
    order = np.argsort(t_ms, kind="stable")
    columns = {}
    for name in sorted(values):
        mask = present[name][order]
        columns[name] = Column(present=mask, values=values[name][order][mask])
    return Samples(
        t_ms=t_ms[order].astype(np.int64),
        approximate=approximate[order].astype(np.bool_),
        columns=columns,
    )
