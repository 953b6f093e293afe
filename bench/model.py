"""What a measurement says: promises held or not, and figures without a promise. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The same thing measured several times, in the order of measuring; at least once."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Runs":
        if not values:
            raise ValueError("runs: expected at least one value")
        return cls(values=tuple(values))

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Something measured. ``unit`` as a person reads it: MiB, cores, s, messages/s."""

    name: str
    what: str
    unit: str
    runs: Runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A promise, and what was found: ``measured`` is the one figure that it is judged by.

    ``at_most``: whether the promise is an upper bound; else it is a lower one, except where
    ``strict`` says that the bound itself does not count. ``sides``: what was measured, of each
    side where two are compared.
    """

    name: str
    what: str
    unit: str
    promised: float
    measured: float
    sides: tuple[Figure, ...]
    at_most: bool = True
    strict: bool = False

    @property
    def held(self) -> bool:
        if self.measured == self.promised:
            return not self.strict
        return (self.measured < self.promised) == self.at_most

    @property
    def ratio(self) -> float:
        """Measured of promised: below 1 is good for an upper bound, above 1 for a lower one."""
        return self.measured / self.promised


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that one measure has found."""

    measure: str
    verdicts: tuple[Verdict, ...] = ()
    figures: tuple[Figure, ...] = ()


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank: one of the values, so never better than what was seen."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
