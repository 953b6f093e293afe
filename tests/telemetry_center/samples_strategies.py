"""What batches can look like, for Hypothesis, and the plainest possible model of a history."""

import math
import struct

from farshore_center.telemetry.history import History
from farshore_center.telemetry.samples import Batch, Samples
from hypothesis import strategies as st

T0_MS = 1_763_830_000_000

NAMES = ["cpu.percent", "cpu.percent{cpu=0}", "net.io_total{device=eth0,direction=in}", "Ü"]

any_float = st.floats(allow_nan=False, allow_infinity=False)
measured = st.one_of(
    st.integers(-(2**40), 2**40).map(float),
    st.integers(-100_000, 100_000).map(lambda n: n / 10),
    st.sampled_from([0.0, -0.0, 1e308, 5e-324, 0.1 + 0.2, 2.0**53, 2.0**53 + 2]),
    any_float,
)
value = st.one_of(st.none(), measured)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Times collide often, offsets are out of order, series come and go."""
    dt_ms = draw(st.lists(st.integers(-3, 20).map(lambda n: n * 500), min_size=1, max_size=6))
    names = draw(st.sets(st.sampled_from(NAMES)))
    rows = st.lists(value, min_size=len(dt_ms), max_size=len(dt_ms))
    return Batch(
        ts_ms=T0_MS + draw(st.integers(-5, 60)) * 1000 * draw(st.sampled_from([1, 1, 3600])),
        dt_ms=dt_ms,
        series={name: draw(rows) for name in sorted(names)},
        approximate=draw(st.booleans()),
    )


def bits(number: float | None) -> bytes | None:
    """Tells minus zero from zero; every null is None."""
    return None if number is None or math.isnan(number) else struct.pack("<d", number)


Rows = list[tuple[int, bool, dict[str, bytes | None]]]


def rows_of_batches(given: list[Batch]) -> Rows:
    """Every instant with what was measured at it, in order of time and then of arrival."""
    rows = [
        (
            batch.ts_ms + offset,
            batch.approximate,
            {name: bits(values[row]) for name, values in batch.series.items()},
        )
        for batch in given
        for row, offset in enumerate(batch.dt_ms)
    ]
    return sorted(rows, key=lambda row: row[0])


def rows_of_samples(samples: Samples) -> Rows:
    rows: Rows = [
        (t_ms, approximate, {})
        for t_ms, approximate in zip(
            samples.t_ms.tolist(), samples.approximate.tolist(), strict=True
        )
    ]
    for name, column in samples.columns.items():
        at = column.present.nonzero()[0].tolist()
        for row, number in zip(at, column.values.tolist(), strict=True):
            rows[row][2][name] = bits(number)
    return rows


Points = dict[str, list[tuple[int, float | None]]]


def points_of_batches(given: list[Batch], from_ms: int, to_ms: int) -> Points:
    """What a query must answer: by time, then by value, nulls last."""
    points: Points = {}
    for batch in given:
        for row, offset in enumerate(batch.dt_ms):
            t_ms = batch.ts_ms + offset
            if from_ms <= t_ms < to_ms:
                for name, values in batch.series.items():
                    points.setdefault(name, []).append((t_ms, values[row]))
    for series in points.values():
        series.sort(key=lambda p: (p[0], p[1] is None, 0.0 if p[1] is None else p[1]))
    return points


def points_of_history(history: History) -> Points:
    return {
        name: [
            (t_ms, None if math.isnan(number) else number)
            for t_ms, number in zip(series.t_ms.tolist(), series.values.tolist(), strict=True)
        ]
        for name, series in history.series.items()
    }
