"""Signals that are functions of a seed and the time, so that nothing has to tick.

A rhythm is a share between 0 and 1 whose integral is known in closed form. That is what makes a
counter that follows the load monotonic, and an average over the last minutes one subtraction.
"""

from __future__ import annotations

import math
import random
from array import array
from functools import cache
from hashlib import blake2b
from itertools import pairwise
from struct import Struct

from farshore_sim.hardware.profile import Load

TICKS_PER_S = 100
"""Time is quantised: below this, rounding errors could make a counter step back."""

_SLOT_S = 30.0
_SLOTS = 1021
_TABLE_SEED = 20260101
_KEY = Struct("<Qq8s")
_SEED_MASK = (1 << 64) - 1


def quantised(t_s: float) -> float:
    return math.floor(t_s * TICKS_PER_S) / TICKS_PER_S


def seed_of(seed: int, *parts: str) -> int:
    """A seed for one purpose, from the node's."""
    text = "\x1f".join((str(seed), *parts)).encode()
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")


def noise(seed: int, purpose: bytes, t_s: float) -> bytes:
    """64 bytes that look random and are always the same for the same arguments."""
    ticks = round(t_s * TICKS_PER_S)
    return blake2b(_KEY.pack(seed & _SEED_MASK, ticks, purpose), digest_size=64).digest()


def sawtooth(t_s: float, period_s: float, offset: float) -> float:
    """Rises from 0 to 1 in each period, and falls back at once."""
    return (t_s / period_s + offset) % 1.0


@cache
def _bursts() -> tuple[array[float], array[float]]:
    """Spells of activity in slots of time, and their integral up to each slot.

    One table serves every node; each starts at another place in it.
    """
    rng = random.Random(_TABLE_SEED)  # noqa: S311 - made-up load, no secret
    heights = array("d", bytes(8 * (_SLOTS + 1)))
    slot = 0
    while slot < _SLOTS:
        slot += rng.randint(4, 60)
        height = rng.uniform(0.25, 1.0)
        for _ in range(rng.randint(1, 9)):
            if slot < _SLOTS:
                heights[slot] = min(1.0, max(0.0, height + rng.uniform(-0.15, 0.15)))
                slot += 1
    heights[0] = heights[_SLOTS] = 0.0  # the table is read in a circle
    sums = array("d", [0.0])
    for left, right in pairwise(heights):
        sums.append(sums[-1] + _SLOT_S * (left + right) / 2)
    return heights, sums


class Rhythm:
    """How busy something is over time. `offset` (0 to 1) sets one machine apart from the next."""

    __slots__ = ("_angular", "_burst_start_s", "_heights", "_load", "_phase", "_sums")

    def __init__(self, load: Load, *, offset: float, phase: float) -> None:
        self._load = load
        self._angular = 2 * math.pi / load.period_s
        self._phase = 2 * math.pi * phase
        self._burst_start_s = offset * _SLOTS * _SLOT_S
        self._heights, self._sums = _bursts()

    def at(self, t_s: float) -> float:
        load = self._load
        place, share = divmod((t_s + self._burst_start_s) / _SLOT_S, 1.0)
        slot = int(place) % _SLOTS
        left, right = self._heights[slot], self._heights[slot + 1]
        wave = 0.5 + 0.5 * math.sin(self._angular * t_s + self._phase)
        return load.base + load.wave * wave + load.burst * (left + (right - left) * share)

    def integral(self, t_s: float) -> float:
        """Seconds of full activity up to a time, from an origin that is the same for all times."""
        load = self._load
        place, share = divmod((t_s + self._burst_start_s) / _SLOT_S, 1.0)
        laps, slot = divmod(int(place), _SLOTS)
        left, right = self._heights[slot], self._heights[slot + 1]
        bursts = laps * self._sums[_SLOTS] + self._sums[slot]
        bursts += _SLOT_S * (left * share + (right - left) * share * share / 2)
        swing = math.cos(self._angular * t_s + self._phase) / self._angular
        return load.base * t_s + load.wave * 0.5 * (t_s - swing) + load.burst * bursts

    def average(self, t_s: float, over_s: float) -> float:
        """The mean of the last `over_s` seconds."""
        return (self.integral(t_s) - self.integral(t_s - over_s)) / over_s
