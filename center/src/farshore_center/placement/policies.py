"""Policies: which scores count, and how much. Literal tables.

A score that says nothing about a task (no data to read, no affinity, no deadline) is left out of its mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Literal

from farshore_center.placement.errors import PlacementError
from farshore_center.placement.scores import ROW_SCORES
from farshore_center.placement.task_scores import TASK_SCORES

SAMPLE = 64
"""Candidates that a batch task is scored on; those that hold its data or that it likes always are."""


_TASK = {"affinity": 40.0, "spread": 40.0, "data_locality": 5.0, "completion": 200.0, "money": 20.0}
"""What counts of one task weighs more than how well its node is packed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """``gpu``: which of a node's GPUs a share of one goes to: the tightest that takes it, or the one by
    which fragmentation grows least. ``steps``: see ``scores.growth_score``."""

    name: str
    weights: Mapping[str, float]
    gpu: Literal["tightest", "fragmentation"] = "tightest"
    steps: int = 100
    key: tuple[object, ...] = field(init=False, repr=False, compare=False)
    """Equal for policies that decide alike."""

    def __post_init__(self) -> None:
        known = {*ROW_SCORES, *TASK_SCORES}
        for score, weight in self.weights.items():
            if score not in known:
                raise PlacementError(
                    f"policy {self.name}: there is no score {score}, only {', '.join(sorted(known))}"
                )
            if not (weight >= 0 and isfinite(weight)):
                raise PlacementError(
                    f"policy {self.name}: the weight of {score} must be 0 or more, not {weight}"
                )
        if self.steps < 1:
            raise PlacementError(f"policy {self.name}: steps must be 1 or more, not {self.steps}")
        key = (tuple(sorted(self.weights.items())), self.gpu, self.steps)
        object.__setattr__(self, "key", key)


POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy(
            name="default",
            weights={"fragmentation": 50.0, "bin_packing": 1.0, **_TASK},
            gpu="fragmentation",
            steps=10_000,
        ),
        Policy(name="fgd", weights={"fragmentation": 1.0}, gpu="fragmentation"),
        Policy(name="bestfit", weights={"bin_packing": 1.0}),
        Policy(name="spread", weights={"least_loaded": 20.0, **_TASK}),
        Policy(name="round_robin", weights={"round_robin": 1.0}),
    )
}
