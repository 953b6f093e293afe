"""A wall clock that is wrong: years off, at 1970, jumping while it runs.

``FaultyClock`` stands between an agent and the machine's clocks. The monotonic clock stays right, as
it does on real machines; the machine's own clock is not touched. ``read`` makes one from words.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from farshore_protocol.clock import Clock

from farshore_sim.faults.errors import FaultError

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "y": 365.25 * 86_400.0}
_AMOUNT = re.compile(r"([+-])(\d+(?:\.\d+)?)(ms|s|m|h|d|y)")
_EXPECTED = "expected 1970, or like +10y or -3h (ms, s, m, h, d, y); a jump like -2h@3.5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The wall clock is set ``by_s`` forwards or backwards, ``at_s`` after the clock was made."""

    at_s: float
    by_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockFault:
    """``from_1970``: the wall clock begins at 1970, as without a battery, in place of the true time."""

    from_1970: bool = False
    offset_s: float = 0.0
    jumps: Sequence[Jump] = field(default_factory=tuple)


class FaultyClock:
    """A ``Clock`` with a fault in its wall clock; ``true`` is the one it deviates from."""

    def __init__(self, fault: ClockFault, *, true: Clock) -> None:
        self._true = true
        self._jumps = fault.jumps
        self._began_s = true.monotonic_s()
        base_ms = -true.now_ms() if fault.from_1970 else 0
        self._offset_ms = base_ms + round(fault.offset_s * 1000)

    def now_ms(self) -> int:
        up_s = self._true.monotonic_s() - self._began_s
        jumped_s = sum(jump.by_s for jump in self._jumps if jump.at_s <= up_s)
        return self._true.now_ms() + self._offset_ms + round(jumped_s * 1000)

    def monotonic_s(self) -> float:
        return self._true.monotonic_s()


def read(text: str) -> ClockFault:
    """``1970``, ``+10y``, ``-3h``, jumps as ``-2h@3.5``; several, with commas. Raises FaultError."""
    from_1970, offset_s, jumps = False, 0.0, []
    for word in text.split(","):
        amount, at, after = word.strip().partition("@")
        if amount == "1970" and not at:
            from_1970 = True
            continue
        found = _AMOUNT.fullmatch(amount)
        if found is None or (at and not re.fullmatch(r"\d+(\.\d+)?", after)):
            raise FaultError(f"clock {word.strip()!r}: {_EXPECTED}")
        by_s = float(found[1] + found[2]) * _UNITS_S[found[3]]
        if at:
            jumps.append(Jump(at_s=float(after), by_s=by_s))
        else:
            offset_s += by_s
    return ClockFault(from_1970=from_1970, offset_s=offset_s, jumps=tuple(jumps))
