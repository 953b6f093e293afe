"""What whoever runs a center chooses for tasks; the rest of ``TaskSettings`` is not for people."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChoices:
    """As in ``TaskSettings``, where each is explained."""

    preempt: bool = True
    preempt_distance: int = 10
    rebalance: bool = False
    rebalance_every_s: float = 300.0
    rebalance_gain: float = 0.1
    rebalance_rest_s: float = 600.0
    rebalance_moves: int = 5
    answer_s: float = 90.0


class Range(NamedTuple):
    least: float
    most: float


RANGES = {
    "preempt_distance": Range(1, 100),
    "rebalance_every_s": Range(10, 86_400),
    "rebalance_gain": Range(0.01, 1),
    "rebalance_rest_s": Range(0, 30 * 86_400),
    "rebalance_moves": Range(1, 1000),
    "answer_s": Range(10, 86_400),
}


def faults(choices: TaskChoices) -> Iterator[tuple[str, object, str]]:
    """Name, value and what was expected of those that can't be used."""
    for name, allowed in RANGES.items():
        value = getattr(choices, name)
        if not allowed.least <= value <= allowed.most:
            yield name, value, f"{allowed.least:g} to {allowed.most:g}"
