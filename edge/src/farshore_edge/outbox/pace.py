"""The pace that the center asks for: records a second, and a wait before the backlog. Pure.

A token bucket that holds a second's worth; without a wish it holds nothing back.
"""


class Pace:
    """``share``: where in the wait this node stands, 0 to 1, drawn anew for each connection."""

    def __init__(self) -> None:
        self._rate: float | None = None
        self._hold_s = 0.0
        self._share = 0.0
        self._up_s = 0.0
        self._tokens = 0.0
        self._counted_s = 0.0

    def wished(self, *, rate: float | None, hold_s: float | None, now_s: float) -> None:
        """The center's word; it holds until the next one."""
        self._fill(now_s)
        if rate is not None:
            full = self._capacity(rate)
            self._tokens = full if self._rate is None else min(self._tokens, full)
        self._rate = rate
        self._hold_s = hold_s or 0.0

    def connected(self, now_s: float, share: float) -> None:
        self._up_s, self._share = now_s, share

    @staticmethod
    def _capacity(rate: float) -> float:
        return max(1.0, rate)

    def _fill(self, now_s: float) -> None:
        if self._rate is not None:
            passed_s = max(0.0, now_s - self._counted_s)
            self._tokens = min(self._capacity(self._rate), self._tokens + passed_s * self._rate)
        self._counted_s = max(self._counted_s, now_s)

    def allowed(self, now_s: float) -> int | None:
        """How many records may be sent now, None for any number."""
        if self._rate is None:
            return None
        self._fill(now_s)
        return int(self._tokens + 1e-9)

    def sent(self, count: int) -> None:
        if self._rate is not None:
            self._tokens = max(0.0, self._tokens - count)

    def backlog_in_s(self, now_s: float) -> float:
        """Seconds until the backlog may be sent."""
        return max(0.0, self._up_s + self._share * self._hold_s - now_s)

    def next_in_s(self, now_s: float) -> float:
        """Seconds until another record may be sent."""
        if self._rate is None:
            return 0.0
        self._fill(now_s)
        return max(0.0, (1.0 - self._tokens) / self._rate)
