"""Time as a parameter: a ``Clock`` is passed to whatever needs one.

``SystemClock`` is the one place of the protocol that reads the machine's time. ``ManualClock`` is
turned by hand: tests and simulated worlds run on it.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall clock, milliseconds since 1970; may jump and may be wrong."""
        ...

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start; never goes backwards."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved; wall and monotonic can part on purpose."""

    def __init__(self, *, now_ms: int = 1_700_000_000_000, monotonic_s: float = 1000.0) -> None:
        self._now_ms = float(now_ms)
        self._monotonic_s = monotonic_s

    def now_ms(self) -> int:
        return int(self._now_ms)

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Time passes: both clocks go on."""
        if seconds < 0:
            raise ValueError(f"advance by {seconds} s: time does not go backwards; use set_wall")
        self._monotonic_s += seconds
        self._now_ms += seconds * 1000

    def set_wall(self, now_ms: int) -> None:
        """The wall clock jumps (a dead battery, an operator, a leap of NTP)."""
        self._now_ms = float(now_ms)
