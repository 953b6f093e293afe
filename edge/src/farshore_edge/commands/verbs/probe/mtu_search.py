"""Finds the largest packet that passes, from what became of the packets before. Pure.

A router that says how much it takes is believed at once. Where large packets vanish without a word (a
black hole: somebody drops the router's answers), the size is found by halving.
"""

LEAST = {4: 576, 6: 1280}
"""What every way takes; of IPv4 by custom, of IPv6 by its standard."""
STEP_BYTES = 8
"""Where the search ends: no link has finer sizes."""


class MtuSearch:
    """Ask ``size`` for what to try next, None at the end; then tell what became of it."""

    def __init__(self, interface_mtu: int, version: int) -> None:
        self._least = min(LEAST[version], interface_mtu)
        self._high = interface_mtu
        self._passed = 0
        self._next: int | None = interface_mtu
        self._vanished: int | None = None
        self.probes = 0

    @property
    def size(self) -> int | None:
        return self._next

    @property
    def passed(self) -> int:
        """The largest that is known to pass, 0 for none."""
        return self._passed

    @property
    def black_hole(self) -> bool:
        """Whether larger ones vanished without a word, while smaller ones passed."""
        return self._vanished is not None and self._passed > 0

    def arrived(self, size: int) -> None:
        self.probes += 1
        self._passed = max(self._passed, size)
        self._choose()

    def too_big(self, size: int, known: int) -> None:
        """``known``: what the kernel now says of the way; it may not have learned it yet."""
        self.probes += 1
        self._high = max(self._least, min(known, size - 1))
        if size <= self._least:  # no way takes less; something else is wrong
            self._next = None
            return
        self._choose(told=known < size)

    def vanished(self, size: int) -> None:
        self.probes += 1
        self._vanished = size if self._vanished is None else min(self._vanished, size)
        if size <= self._least:
            self._next = None
            return
        self._high = min(self._high, size - 1)
        self._choose()

    def _choose(self, *, told: bool = False) -> None:
        if self._passed >= self._high or (self._high - self._passed < STEP_BYTES and self._passed):
            self._next = None
        elif told:
            self._next = self._high
        elif not self._passed:  # does anything pass at all?
            self._next = self._least
        else:
            self._next = min(self._high, (self._passed + self._high + 1) // 2)
