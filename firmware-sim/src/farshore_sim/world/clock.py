"""Clocks of a simulated world: all of them run over the loop's virtual time, each with its own faults.

The wall clock may be wrong, drift and jump; the monotonic clock only drifts.
"""

from collections.abc import Callable

EPOCH_MS = 1_763_800_000_000
"""The true wall clock at the world's beginning."""
BOOT_S = 20.0
"""What a machine takes from its boot to the start of its agent."""


class WorldClock:
    """``rate``: seconds of this clock in a true second."""

    def __init__(self, time_s: Callable[[], float], *, off_ms: float = 0.0) -> None:
        self._time_s = time_s
        self._since_s = time_s()
        self._monotonic_s = 1000.0
        self._wall_ms = EPOCH_MS + self._since_s * 1000 + off_ms
        self._rate = 1.0
        self.watchers: list[Callable[[], None]] = []
        """Told when the monotonic clock goes on otherwise than it was to."""

    @property
    def rate(self) -> float:
        return self._rate

    def _elapsed_s(self) -> float:
        return (self._time_s() - self._since_s) * self._rate

    def _settle(self) -> None:
        elapsed_s = self._elapsed_s()
        self._monotonic_s += elapsed_s
        self._wall_ms += elapsed_s * 1000
        self._since_s = self._time_s()

    def now_ms(self) -> int:
        return int(self._wall_ms + self._elapsed_s() * 1000)

    def monotonic_s(self) -> float:
        return self._monotonic_s + self._elapsed_s()

    def drift(self, rate: float) -> None:
        self._settle()
        self._rate = rate
        self._tell()

    def boot(self) -> None:
        """The machine begins anew, and its monotonic clock with it."""
        self._settle()
        self._monotonic_s = BOOT_S
        self._tell()

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher()

    def jump(self, by_ms: float) -> None:
        """The wall clock is set; the monotonic clock goes on."""
        self._wall_ms += by_ms

    def set_wall(self, now_ms: float) -> None:
        self._settle()
        self._wall_ms = now_ms
