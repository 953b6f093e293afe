"""The center's time, estimated from exchanges as in NTP (RFC 5905, section 8). Pure.

Of this boot's exchanges the one with the smallest bound on its error is believed: half of its round
trip, plus what the two clocks may have drifted apart since. One that contradicts it beyond both
bounds replaces it: a clock was set, or stood still while the machine slept.
"""

from dataclasses import dataclass

from farshore_protocol.messages import TimeAnswer

SYNCED_WITHIN_MS = 2_000
"""A wall clock this close to the center's counts as synchronised."""
JUMP_MS = 1_000
DRIFT = 100e-6
"""How fast two crystals may part, as a share of the time that passes."""
ROUNDING_MS = 2.0
"""Both sides count whole milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """``base_ms``: the center's wall clock when this boot's monotonic clock stood at zero."""

    base_ms: float
    round_trip_ms: float
    at_up_ms: int

    def bound_ms(self, up_ms: int) -> float:
        """How far off it can be at ``up_ms``."""
        age_ms = max(0, up_ms - self.at_up_ms)
        return self.round_trip_ms / 2 + ROUNDING_MS + age_ms * DRIFT


class ClockSync:
    def __init__(self) -> None:
        self._best: Estimate | None = None
        self._wall_base_ms = 0

    def answered(self, answer: TimeAnswer, *, up_ms: int, now_ms: int) -> None:
        """An answer of this boot arrived at ``up_ms`` / ``now_ms`` of the node's own clocks."""
        round_trip_ms = up_ms - answer.up_ms - (answer.sent_ms - answer.received_ms)
        if answer.up_ms > up_ms or answer.sent_ms < answer.received_ms or round_trip_ms < 0:
            return  # a clock was set while the answer was under way, or it is made up
        new = Estimate(
            base_ms=(answer.received_ms + answer.sent_ms) / 2 - (answer.up_ms + up_ms) / 2,
            round_trip_ms=round_trip_ms,
            at_up_ms=up_ms,
        )
        self._wall_base_ms = now_ms - up_ms
        if self._best is None or self._better(new, self._best, up_ms):
            self._best = new

    def _better(self, new: Estimate, old: Estimate, up_ms: int) -> bool:
        new_bound_ms, old_bound_ms = new.bound_ms(up_ms), old.bound_ms(up_ms)
        contradicted = abs(new.base_ms - old.base_ms) > new_bound_ms + old_bound_ms
        return new_bound_ms <= old_bound_ms or contradicted

    @property
    def asked(self) -> bool:
        """Whether there was an exchange in this boot."""
        return self._best is not None

    def bound_ms(self, *, up_ms: int) -> float | None:
        """How far ``center_ms`` can be off, now; None before the first exchange."""
        return None if self._best is None else self._best.bound_ms(up_ms)

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
        if offset_ms is None:
            return False
        jumped = abs((now_ms - up_ms) - self._wall_base_ms) > JUMP_MS
        return abs(offset_ms) <= SYNCED_WITHIN_MS and not jumped
