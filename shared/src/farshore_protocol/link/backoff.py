"""How long to wait before the next attempt: exponential backoff with full jitter.

From M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): the wait is
uniform between zero and a ceiling that doubles, so that a fleet that was cut off together does not
come back together.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffSettings:
    """``stable_s``: a connection that held this long makes the next failure count as the first."""

    first_s: float = 2.0
    max_s: float = 120.0
    stable_s: float = 60.0


class Backoff:
    def __init__(self, settings: BackoffSettings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng
        self._failures = 0

    def ceiling_s(self) -> float:
        """The longest that the next wait can be."""
        doublings = min(self._failures, 30)
        return min(self._settings.max_s, self._settings.first_s * 2.0**doublings)

    def failed(self, *, up_s: float) -> float:
        """An attempt failed (``up_s`` 0) or a connection ended after ``up_s``: seconds to wait."""
        if up_s >= self._settings.stable_s:
            self._failures = 0
        wait = self._rng.uniform(0.0, self.ceiling_s())
        self._failures += 1
        return wait
