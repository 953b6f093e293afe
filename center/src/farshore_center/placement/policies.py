"""Policies: which scores count, and how much. Literal tables.

A score that says nothing about a task (no data to read, no affinity, no deadline) is left out of its mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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


POLICIES: Mapping[str, Policy] = {
    policy.name: policy
    for policy in (
        Policy(
            name="default",
            weights={"fragmentation": 50.0, "bin_packing": 1.0, **_TASK},
            gpu="fragmentation",
            steps=200,
        ),
        Policy(name="fgd", weights={"fragmentation": 1.0}, gpu="fragmentation"),
        Policy(name="bestfit", weights={"bin_packing": 1.0}),
        Policy(name="spread", weights={"least_loaded": 20.0, **_TASK}),
        Policy(name="round_robin", weights={"round_robin": 1.0}),
    )
}
