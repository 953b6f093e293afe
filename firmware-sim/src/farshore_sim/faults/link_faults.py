"""Faults of a link as values, and what they mean for the bytes of one direction. Pure.

``Shape`` is what a direction suffers at the moment: any faults together, one of each kind.
``Schedule`` decides for one direction of one connection when bytes are due and how many go next. It
reads no clock, draws from the randomness that it is given, and moves no bytes (``lane.py`` does).
"""

import enum
import random
from dataclasses import dataclass, fields, replace
from typing import Any

from farshore_sim.faults.errors import FaultError


class Direction(enum.Flag):
    """``UP``: from the one who connects to the target; ``DOWN``: back."""

    UP = enum.auto()
    DOWN = enum.auto()
    BOTH = UP | DOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfOpen:
    """Bytes are taken and acknowledged by TCP, and go nowhere; so does the end of a connection.

    What went nowhere does not come back: a connection that lost bytes is reset when this is removed.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """Nothing passes; when it is removed everything does, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """A token bucket for each connection: ``burst_bytes`` at once, then ``bytes_per_s``."""

    bytes_per_s: float
    burst_bytes: int = 1_500

    def __post_init__(self) -> None:
        _check("bytes_per_s", self.bytes_per_s, self.bytes_per_s > 0, "more than 0")
        _check("burst_bytes", self.burst_bytes, self.burst_bytes >= 1, "1 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """``fixed_s``, and up to ``jitter_s`` more or less; the order within a connection is kept."""

    fixed_s: float
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        _check("fixed_s", self.fixed_s, self.fixed_s >= 0, "0 or more")
        _check("jitter_s", self.jitter_s, self.jitter_s >= 0, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tear:
    """Bytes come in segments of 1 to ``most_bytes``, with a pause after each."""

    most_bytes: int = 7
    pause_s: float = 0.001

    def __post_init__(self) -> None:
        _check("most_bytes", self.most_bytes, self.most_bytes >= 1, "1 or more")
        _check("pause_s", self.pause_s, self.pause_s >= 0, "0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class TornCut:
    """After so many more bytes in this direction the connection that carried the last is reset.

    It happens once, and is then gone by itself; the bytes of all connections are counted.
    """

    after_bytes: int

    def __post_init__(self) -> None:
        _check("after_bytes", self.after_bytes, self.after_bytes >= 0, "0 or more")


LinkFault = HalfOpen | Stall | Throttle | Delay | Tear | TornCut


def _check(name: str, value: float, right: bool, expected: str) -> None:
    if not right:
        raise FaultError(f"{name} = {value}: expected {expected}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The faults of one direction."""

    half_open: HalfOpen | None = None
    stall: Stall | None = None
    throttle: Throttle | None = None
    delay: Delay | None = None
    tear: Tear | None = None
    torn_cut: TornCut | None = None

    def put(self, fault: LinkFault) -> "Shape":
        """With this fault, in place of one of the same kind."""
        return replace(self, **_place(type(fault), fault))

    def without(self, kind: type[LinkFault]) -> "Shape":
        return replace(self, **_place(kind, None))

    def sent(self, count: int) -> "Shape":
        """After so many bytes went through."""
        if self.torn_cut is None:
            return self
        left = max(0, self.torn_cut.after_bytes - count)
        return replace(self, torn_cut=TornCut(after_bytes=left))

    def faults(self) -> list[LinkFault]:
        found = (getattr(self, place.name) for place in fields(self))
        return [fault for fault in found if fault is not None]


_PLACES: dict[type[LinkFault], str] = {
    HalfOpen: "half_open",
    Stall: "stall",
    Throttle: "throttle",
    Delay: "delay",
    Tear: "tear",
    TornCut: "torn_cut",
}


def _place(kind: type[LinkFault], fault: LinkFault | None) -> dict[str, Any]:
    return {_PLACES[kind]: fault}


class Fate(enum.Enum):
    SEND = enum.auto()
    WAIT = enum.auto()
    SWALLOW = enum.auto()
    RESET = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happens to the next ``size`` bytes; of ``RESET``, those that still go before it.

    ``wait_s``: how long ``WAIT`` waits, None until the faults change.
    """

    fate: Fate
    size: int = 0
    wait_s: float | None = None


class Schedule:
    """One direction of one connection. ``now_s`` is any monotonic clock, the same in every call."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._due_s = float("-inf")
        self._next_s = float("-inf")
        self._throttle: Throttle | None = None
        self._tokens = 0.0
        self._counted_s = 0.0

    def due_s(self, shape: Shape, now_s: float) -> float:
        """When bytes that arrive now may leave: not before those that came earlier."""
        wait_s = 0.0
        if shape.delay is not None:
            jitter_s = shape.delay.jitter_s * self._rng.uniform(-1, 1)
            wait_s = max(0.0, shape.delay.fixed_s + jitter_s)
        self._due_s = max(self._due_s, now_s + wait_s)
        return self._due_s

    def step(self, shape: Shape, waiting: int, now_s: float) -> Step:
        """What happens next to ``waiting`` bytes that are due; 1 or more."""
        if shape.half_open is not None:
            return Step(fate=Fate.SWALLOW, size=waiting)
        if shape.stall is not None:
            return Step(fate=Fate.WAIT)
        if shape.tear is not None and now_s < self._next_s:
            return Step(fate=Fate.WAIT, wait_s=self._next_s - now_s)
        size = waiting
        if shape.tear is not None:
            size = min(size, self._rng.randint(1, shape.tear.most_bytes))
        if shape.torn_cut is not None:
            size = min(size, shape.torn_cut.after_bytes)
        allowed = self._allowed(shape.throttle, size, now_s)
        if isinstance(allowed, float):
            return Step(fate=Fate.WAIT, wait_s=allowed)
        if shape.tear is not None:
            self._next_s = now_s + shape.tear.pause_s
        torn = shape.torn_cut is not None and shape.torn_cut.after_bytes == allowed
        return Step(fate=Fate.RESET if torn else Fate.SEND, size=allowed)

    def _allowed(self, throttle: Throttle | None, size: int, now_s: float) -> int | float:
        """How many bytes the bucket lets go, an int, or for how long none, a float."""
        if throttle != self._throttle:
            self._throttle, self._counted_s = throttle, now_s
            self._tokens = throttle.burst_bytes if throttle else 0.0
        if throttle is None:
            return size
        gained = (now_s - self._counted_s) * throttle.bytes_per_s
        self._tokens = min(float(throttle.burst_bytes), self._tokens + gained)
        self._counted_s = now_s
        size = min(size, throttle.burst_bytes)
        missing = size - self._tokens
        if missing > 1e-6:
            return missing / throttle.bytes_per_s
        self._tokens -= size
        return size
