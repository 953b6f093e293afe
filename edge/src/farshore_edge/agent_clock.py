"""What time it is for this agent: since its start, on its own wall clock, on the center's."""

from typing import Any

from farshore_protocol.clock import Clock

from farshore_edge.outbox import Timing
from farshore_edge.presence import ClockSync


class AgentClock:
    """``boot``: of this start of the agent; ``sync``: what is known of the center's clock."""

    def __init__(self, clock: Clock, *, boot: str) -> None:
        self._clock = clock
        self._started_s = clock.monotonic_s()
        self.boot = boot
        self.sync = ClockSync()

    def up_ms(self) -> int:
        """Milliseconds since this agent started, on the monotonic clock."""
        return int((self._clock.monotonic_s() - self._started_s) * 1000)

    def timing(self) -> Timing:
        """What a record says of when it was made."""
        up_ms, now_ms = self.up_ms(), self._clock.now_ms()
        return Timing(
            boot=self.boot,
            up_ms=up_ms,
            ts=now_ms,
            synced=self.sync.synced(up_ms=up_ms, now_ms=now_ms),
        )

    def center_ms(self, up_ms: int) -> float | None:
        """The center's wall clock at an uptime, where it is known."""
        return self.sync.center_ms(up_ms=up_ms)

    def center_now_ms(self) -> int:
        """The center's wall clock where it is known, else the node's own."""
        center_ms = self.center_ms(self.up_ms())
        return self._clock.now_ms() if center_ms is None else int(center_ms)

    def offset_ms(self) -> float | None:
        """Center's clock minus the node's; None before the first exchange."""
        return self.sync.offset_ms(up_ms=self.up_ms(), now_ms=self._clock.now_ms())

    def status(self) -> dict[str, Any]:
        """What the verb ``diagnose`` tells of it."""
        up_ms, now_ms = self.up_ms(), self._clock.now_ms()
        return {
            "now": now_ms,
            "up_ms": up_ms,
            "synced": self.sync.synced(up_ms=up_ms, now_ms=now_ms),
            "offset_ms": self.sync.offset_ms(up_ms=up_ms, now_ms=now_ms),
            "bound_ms": self.sync.bound_ms(up_ms=up_ms),
        }
