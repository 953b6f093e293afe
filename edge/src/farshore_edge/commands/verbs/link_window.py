"""How much of a throughput test may be under way at once, so that the streams beside it hardly wait. Pure.

It doubles from round trip to round trip, until the test's own queue on the way delays answers: then
the link is full, and more would measure nothing but the queue.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from farshore_protocol.commands.catalogue.network import RoundTrips, Throughput

FIRST_BYTES = 4 * 1024
LEAST_BYTES = 1024
MOST_BYTES = 256 * 1024
PIECE_MOST_BYTES = 16 * 1024
FULL_S = 0.25
"""An answer that is later than the quickest by so much has waited in a queue of our own making …"""
OVERFULL_S = 0.75
"""… and this is a queue that others feel."""


class Window:
    def __init__(self) -> None:
        self._bytes = FIRST_BYTES
        self._quickest_s = float("inf")
        self._passed = 0

    @property
    def bytes(self) -> int:
        return self._bytes

    @property
    def piece(self) -> int:
        """Bytes of padding in the next message."""
        return max(LEAST_BYTES, min(PIECE_MOST_BYTES, self._bytes // 4))

    def answered(self, size: int, took_s: float) -> None:
        self._quickest_s = min(self._quickest_s, took_s)
        late_s = took_s - self._quickest_s
        if late_s > OVERFULL_S:
            self._passed += size
            if self._passed >= self._bytes:  # once for what was under way, not for each piece of it
                self._shrink()
        elif late_s <= FULL_S:
            self._bytes = min(MOST_BYTES, self._bytes + size)

    def lost(self) -> None:
        self._shrink()

    def _shrink(self) -> None:
        self._bytes = max(LEAST_BYTES, self._bytes // 2)
        self._passed = 0


def round_trips(sent: int, took_s: Sequence[float]) -> RoundTrips:
    """``took_s``: of those that were answered, in the order of sending."""
    loss = 100 * (sent - len(took_s)) / sent if sent else 0.0
    if not took_s:
        return RoundTrips(sent=sent, answered=0, loss_percent=round(loss, 2))
    ordered = sorted(took_s)
    steps = [abs(later - earlier) for earlier, later in pairwise(took_s)]
    return RoundTrips(
        sent=sent,
        answered=len(took_s),
        loss_percent=round(loss, 2),
        min_ms=_ms(ordered[0]),
        median_ms=_ms(median(ordered)),
        p95_ms=_ms(ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]),
        max_ms=_ms(ordered[-1]),
        jitter_ms=_ms(sum(steps) / len(steps)) if steps else None,
    )


def summary(trips: RoundTrips, moved: Mapping[str, Throughput]) -> str:
    """The one line that a person reads first; ``moved``: by direction, ``up`` and ``down``."""
    said = [f"{trips.answered} of {trips.sent} came back"]
    if trips.median_ms is not None and trips.p95_ms is not None:
        said = [f"round trip {trips.median_ms:.1f} ms (95 % within {trips.p95_ms:.1f} ms)"]
        said.append(f"loss {trips.loss_percent:g} %")
    for way, flow in moved.items():
        cut = "" if flow.complete else ", incomplete"
        said.append(f"{way} {flow.bytes_per_s / 1000:,.1f} kB/s ({flow.bytes:,} bytes{cut})")
    return ", ".join(said)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
