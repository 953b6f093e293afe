"""Plausible telemetry of one host, the same every time: what the history is measured with. Pure.

Percentages, temperatures, counters, sizes, states and, as every compressor's worst, pure noise.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from farshore_center.telemetry.samples import Batch

T0_MS = 1_763_830_000_000
INTERVAL_MS = 5000
PER_BATCH = 12
SERIES = 80

Column = npt.NDArray[np.float64]


def columns(rng: np.random.Generator, count: int) -> dict[str, Column]:
    """What a host reports."""

    def walk(step: float, decimals: int) -> Column:
        around = 50 + np.cumsum(rng.normal(0, step, count)) % 40
        return np.round(around, decimals)

    def counter(rate: int) -> Column:
        return np.cumsum(rng.integers(0, rate, count)).astype(np.float64)

    kinds: list[tuple[str, Callable[[], npt.NDArray[np.floating[Any]]]]] = [
        ("cpu.percent", lambda: walk(4, 1)),
        ("temperature.celsius", lambda: walk(0.2, 1)),
        ("net.io_bytes_total", lambda: counter(200_000)),
        ("disk.operations_total", lambda: counter(40)),
        ("mem.used_bytes", lambda: np.cumsum(rng.integers(-256, 257, count)) * 4096.0 + 3e9),
        ("mem.total_bytes", lambda: np.full(count, 8_322_412_544.0)),
        ("process.count", lambda: 210.0 + rng.integers(0, 4, count)),
        ("load.1m", lambda: np.round(np.abs(rng.normal(0.7, 0.2, count)), 2)),
        ("link.up", lambda: np.ones(count)),
        ("vibration.rms", lambda: rng.normal(1.0, 0.1, count)),
    ]
    made = {}
    for number in range(SERIES):
        name, make = kinds[number % len(kinds)]
        made[f"{name}{{unit={number // len(kinds)}}}"] = make().astype(np.float64)
    return made


def batches(count: int) -> list[Batch]:
    """``count`` samples of each series, the same ones every time."""
    rng = np.random.default_rng(1)
    made = columns(rng, count)
    jitter = rng.integers(0, 4, count)
    return [
        Batch(
            ts_ms=T0_MS + start * INTERVAL_MS,
            dt_ms=[n * INTERVAL_MS + int(jitter[start + n]) for n in range(PER_BATCH)],
            series={name: made[name][start : start + PER_BATCH].tolist() for name in made},
        )
        for start in range(0, count, PER_BATCH)
    ]


def an_hour() -> int:
    """Samples of a series in an hour."""
    return 3_600_000 // INTERVAL_MS
