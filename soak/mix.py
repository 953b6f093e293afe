"""How large the simulated worlds of a soak are. Pure.

Most defects need a few nodes and half an hour, and such a world costs a fifth of a second; some need
company, or the time that chunks, backlogs and long absences take. So most worlds are small, and each
seed has a size of its own, the same in every soak.
"""

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    nodes: int
    hours: float

    def __str__(self) -> str:
        return f"{self.nodes} nodes {self.hours:g} h"


MIX: tuple[tuple[Size, int], ...] = (
    (Size(nodes=2, hours=0.25), 30),
    (Size(nodes=3, hours=0.5), 35),
    (Size(nodes=4, hours=0.5), 20),
    (Size(nodes=5, hours=1.0), 12),
    (Size(nodes=8, hours=2.0), 3),
)
"""Sizes and how many worlds of a hundred have them."""


def size_of(seed: int) -> Size:
    rng = random.Random(f"{seed}/size")  # noqa: S311 # replayable, no secret
    sizes, weights = zip(*MIX, strict=True)
    chosen: Size = rng.choices(sizes, weights)[0]
    return chosen
