"""Thins a series for a chart: one value per step. Pure; numpy only.

Steps are aligned to the epoch, so the same step gives the same buckets whatever the range. A
bucket without samples is left out; one with nothing but nulls is null.
"""

from typing import Literal

import numpy as np

from farshore_center.telemetry.samples import Mask, Times, Values

Aggregate = Literal["mean", "min", "max", "last"]
AGGREGATES: tuple[Aggregate, ...] = ("mean", "min", "max", "last")


def natural_aggregate(name: str) -> Aggregate:
    """A counter is thinned to its last value: the mean of a counter says nothing."""
    base = name.partition("{")[0]
    return "last" if base.endswith("_total") else "mean"


def resample(
    t_ms: Times, values: Values, step_ms: int, how: Aggregate = "mean"
) -> tuple[Times, Values]:
    """`t_ms` ascends; returns the start of every bucket and its value (NaN is null)."""
    if step_ms <= 0:
        raise ValueError(f"step_ms: {step_ms}, expected more than 0")
    buckets = t_ms - t_ms % step_ms
    starts = np.unique(buckets)
    real = ~np.isnan(values)
    result = np.full(len(starts), np.nan)
    if not bool(real.any()):
        return starts, result
    bucket_of, first_real = np.unique(buckets[real], return_index=True)
    filled = np.searchsorted(starts, bucket_of)
    result[filled] = _aggregate(values[real], first_real, how)
    return starts, result


def resample_mask(t_ms: Times, mask: Mask, step_ms: int) -> Mask:
    """For the buckets of ``resample``: whether any of their samples is marked."""
    buckets = t_ms - t_ms % step_ms
    marked: Mask = np.isin(np.unique(buckets), buckets[mask])
    return marked


def _aggregate(values: Values, firsts: Times, how: Aggregate) -> Values:
    """One value per run of `values` that begins at each of `firsts`."""
    ends = np.append(firsts[1:], len(values))
    aggregated: Values
    if how == "min":
        aggregated = np.minimum.reduceat(values, firsts)
    elif how == "max":
        aggregated = np.maximum.reduceat(values, firsts)
    elif how == "last":
        aggregated = values[ends - 1]
    else:
        with np.errstate(over="ignore"):
            aggregated = np.add.reduceat(values, firsts) / (ends - firsts)
    return aggregated
