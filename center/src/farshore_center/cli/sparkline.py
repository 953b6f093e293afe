"""A series as one line of block characters. Pure.

``on_grid`` puts samples on an even grid of time, so that a gap in the data is a gap in the line;
``sparkline`` draws the grid; ``rate`` turns a counter into its change per second.
"""

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

BLOCKS = "▁▂▃▄▅▆▇█"
GAP = " "
_JITTER = 1.5
"""Two samples that are at most this many steps apart have no gap between them."""

Values = Sequence[float | None]


def sparkline(values: Values) -> str:
    """One character a value: the lowest block is the minimum, the highest the maximum."""
    known = [v for v in values if v is not None]
    if not known:
        return GAP * len(values)
    low, high = min(known), max(known)
    return "".join(GAP if v is None else _block(v, low, high) for v in values)


def _block(value: float, low: float, high: float) -> str:
    if low == high:
        return BLOCKS[0] if value == 0 else BLOCKS[3]
    # Halved before the subtraction, so that the widest range of floats does not overflow.
    span = high / 2 - low / 2
    if span == 0:  # the two smallest floats that there are have the same half
        return BLOCKS[0] if value == low else BLOCKS[-1]
    share = (value / 2 - low / 2) / span
    return BLOCKS[min(len(BLOCKS) - 1, int(share * len(BLOCKS)))]


def rate(t_ms: Sequence[int], values: Values) -> list[float | None]:
    """Change per second at each sample; None at the first, beside a gap and at a counter's reset."""
    rates: list[float | None] = [None] * min(len(values), 1)
    for (t0, v0), (t1, v1) in pairwise(zip(t_ms, values, strict=False)):
        usable = v0 is not None and v1 is not None and v1 >= v0 and t1 > t0
        rates.append((v1 - v0) * 1000 / (t1 - t0) if usable else None)  # type: ignore[operator]
    return rates


def on_grid(
    t_ms: Sequence[int], values: Values, *, start_ms: int, end_ms: int, width: int
) -> list[float | None]:
    """At most ``width`` cells from start to end; a cell is the mean of its samples, or None."""
    samples = [
        (t, v)
        for t, v in zip(t_ms, values, strict=False)
        if v is not None and start_ms <= t <= end_ms
    ]
    if not samples or width < 1:
        return []
    step = max(_usual_step(t_ms), (end_ms - start_ms) / max(1, width - 1), 1.0)
    cells: list[list[float]] = [[] for _ in range(int((end_ms - start_ms) / step + 0.5) + 1)]
    previous: tuple[int, int] | None = None
    for t, v in samples:
        index = int((t - start_ms) / step + 0.5)
        if previous is not None and index - previous[0] == 2 and t - previous[1] <= _JITTER * step:
            cells[index - 1].append(v)
        cells[index].append(v)
        previous = (index, t)
    return [fmean(cell) if cell else None for cell in cells]


def _usual_step(t_ms: Sequence[int]) -> float:
    steps = [b - a for a, b in pairwise(t_ms) if b > a]
    return float(median(steps)) if steps else 1.0
