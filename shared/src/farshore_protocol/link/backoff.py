"""How long to wait before the next attempt: exponential backoff with full jitter.

From M. Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): the wait is
uniform between zero and a ceiling that doubles, so that a fleet that was cut off together does not
come back together. An attempt that reached nobody has cost the other side nothing: it doubles the
ceiling only once a whole ceiling has been waited, so that a node that drew short waits while its
center restarts does not stay away longer than the restart took (decision 9).
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
        self._ceiling_s = 0.0
        self._waited_s = 0.0

    @property
    def ceiling_s(self) -> float:
        """The longest that the last wait could have been; 0 before the first."""
        return self._ceiling_s

    def failed(self, *, up_s: float, reached: bool = True) -> float:
        """An attempt failed (``up_s`` 0) or a connection ended after ``up_s``: seconds to wait.

        ``reached``: whether anybody took the connection; False where nobody listened, or there was
        no way. An attempt that was not answered in time may have reached a center that is drowning.
        """
        settings = self._settings
        if up_s >= settings.stable_s or self._ceiling_s == 0:
            self._ceiling_s, self._waited_s = min(settings.first_s, settings.max_s), 0.0
        elif reached or self._waited_s >= self._ceiling_s:
            self._ceiling_s, self._waited_s = min(2 * self._ceiling_s, settings.max_s), 0.0
        wait_s = self._rng.uniform(0.0, self._ceiling_s)
        self._waited_s += wait_s
        return wait_s
