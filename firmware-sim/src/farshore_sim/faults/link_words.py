"""The proxy's faults as words that a person types: ``delay 0.3 0.2 up``, ``no stall``. Pure.

``read`` turns a line into an ``Order``; it does nothing with it (``link_control.py`` does).
"""

from collections.abc import Callable
from dataclasses import dataclass

from farshore_sim.faults.errors import FaultError
from farshore_sim.faults.link_faults import (
    Delay,
    Direction,
    HalfOpen,
    LinkFault,
    Shape,
    Stall,
    Tear,
    Throttle,
    TornCut,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    fault: LinkFault
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    kind: type[LinkFault]
    direction: Direction


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One of ``ACTIONS``."""

    word: str


Order = Put | Take | Act


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    kind: type[LinkFault]
    make: Callable[..., LinkFault]
    numbers: tuple[int, int]
    """How many, at least and at most."""
    told: str


FAULTS = {
    "half-open": _Word(
        kind=HalfOpen, make=HalfOpen, numbers=(0, 0), told="bytes go nowhere, and nobody is told"
    ),
    "stall": _Word(kind=Stall, make=Stall, numbers=(0, 0), told="bytes wait until 'no stall'"),
    "throttle": _Word(
        kind=Throttle,
        make=lambda rate, burst=1500: Throttle(bytes_per_s=rate, burst_bytes=int(burst)),
        numbers=(1, 2),
        told="BYTES_PER_S [BURST_BYTES]: no faster than that",
    ),
    "delay": _Word(
        kind=Delay,
        make=lambda fixed, jitter=0.0: Delay(fixed_s=fixed, jitter_s=jitter),
        numbers=(1, 2),
        told="SECONDS [JITTER_SECONDS]: bytes come later, in their order",
    ),
    "tear": _Word(
        kind=Tear,
        make=lambda most=7, pause=0.001: Tear(most_bytes=int(most), pause_s=pause),
        numbers=(0, 2),
        told="[MOST_BYTES [PAUSE_SECONDS]]: tiny segments, with pauses",
    ),
    "torn-cut": _Word(
        kind=TornCut,
        make=lambda after: TornCut(after_bytes=int(after)),
        numbers=(1, 1),
        told="BYTES: after so many more the connection is reset, once",
    ),
}
ACTIONS = {
    "cut": "reset every connection, refuse new ones, until 'heal'",
    "heal": "listen again",
    "refuse": "refuse new connections, leave open ones alone, until 'forward'",
    "silent": "accept new connections and say nothing, until 'forward'",
    "forward": "forward new connections",
    "clear": "take every fault off, forward new connections",
    "show": "the present faults",
    "help": "these words",
}
_DIRECTIONS = {"up": Direction.UP, "down": Direction.DOWN, "both": Direction.BOTH}


def read(line: str) -> Order | None:
    """None for an empty line. Raises FaultError, which says what was expected."""
    words = line.split()
    if not words:
        return None
    off = words[0] == "no"
    name, numbers = words[off] if len(words) > off else "", words[1 + off :]
    if name in ACTIONS and not off and not numbers:
        return Act(word=name)
    if name not in FAULTS:
        raise FaultError(f"{line.strip()!r}: expected one of {', '.join([*FAULTS, *ACTIONS])}")
    where = direction(numbers.pop()) if numbers and numbers[-1] in _DIRECTIONS else Direction.BOTH
    word = FAULTS[name]
    if off:
        if numbers:
            raise FaultError(f"{line.strip()!r}: expected no {name} [up|down|both]")
        return Take(kind=word.kind, direction=where)
    return Put(fault=_fault(name, word, numbers), direction=where)


def _fault(name: str, word: _Word, numbers: list[str]) -> LinkFault:
    least, most = word.numbers
    try:
        if not least <= len(numbers) <= most:
            raise ValueError(numbers)
        return word.make(*(float(each) for each in numbers))
    except (ValueError, OverflowError) as exc:  # not a number, or not a finite one
        raise FaultError(
            f"{' '.join([name, *numbers])!r}: expected {name} {word.told} [up|down|both]"
        ) from exc


def direction(word: str) -> Direction:
    if word not in _DIRECTIONS:
        raise FaultError(f"{word!r}: expected up, down or both")
    return _DIRECTIONS[word]


def shown(shape: Shape) -> str:
    """The faults of one direction, as words that ``read`` takes."""
    return ", ".join(_said(fault) for fault in shape.faults()) or "as it is"


def _said(fault: LinkFault) -> str:
    match fault:
        case Throttle():
            return f"throttle {fault.bytes_per_s:g} {fault.burst_bytes}"
        case Delay():
            return f"delay {fault.fixed_s:g} {fault.jitter_s:g}"
        case Tear():
            return f"tear {fault.most_bytes} {fault.pause_s:g}"
        case TornCut():
            return f"torn-cut {fault.after_bytes}"
    return "half-open" if isinstance(fault, HalfOpen) else "stall"
