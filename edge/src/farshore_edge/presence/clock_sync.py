"""The center's time, estimated from exchanges as in NTP (RFC 5905, section 8). Pure.

The exchange with the shortest round trip of this boot is believed: its error is bounded by half of
that round trip.
"""

from dataclasses import dataclass

from farshore_protocol.messages import TimeAnswer

SYNCED_WITHIN_MS = 2_000
"""A wall clock this close to the center's counts as synchronised."""
JUMP_MS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """``base_ms``: the center's wall clock when this boot's monotonic clock stood at zero."""

    base_ms: float
    round_trip_ms: float
    wall_base_ms: int


class ClockSync:
    def __init__(self) -> None:
        self._best: Estimate | None = None

    def answered(self, answer: TimeAnswer, *, up_ms: int, now_ms: int) -> None:
        """An answer of this boot arrived at ``up_ms`` / ``now_ms`` of the node's own clocks."""
        round_trip_ms = up_ms - answer.up_ms - (answer.sent_ms - answer.received_ms)
        if round_trip_ms < 0:
            return
        middle_up_ms = (answer.up_ms + up_ms) / 2
        base_ms = (answer.received_ms + answer.sent_ms) / 2 - middle_up_ms
        if self._best is None or round_trip_ms <= self._best.round_trip_ms * 1.5 + 1:
            self._best = Estimate(
                base_ms=base_ms, round_trip_ms=round_trip_ms, wall_base_ms=now_ms - up_ms
            )

    def offset_ms(self, *, up_ms: int, now_ms: int) -> float | None:
        """Center's clock minus the node's wall clock, now; None before the first exchange."""
        if self._best is None:
            return None
        return self._best.base_ms + up_ms - now_ms

    def center_ms(self, *, up_ms: int) -> float | None:
        """The center's time, now."""
        return None if self._best is None else self._best.base_ms + up_ms

    def synced(self, *, up_ms: int, now_ms: int) -> bool:
        """Whether the wall clock agrees with the center's, and has not jumped since it was asked."""
        offset_ms = self.offset_ms(up_ms=up_ms, now_ms=now_ms)
        if offset_ms is None or self._best is None:
            return False
        jumped = abs((now_ms - up_ms) - self._best.wall_base_ms) > JUMP_MS
        return abs(offset_ms) <= SYNCED_WITHIN_MS and not jumped
