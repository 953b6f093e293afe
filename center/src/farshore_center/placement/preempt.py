"""Who must give way so that a task of higher priority finds room. Pure; nothing is stopped here.

A task may only take the place of one whose priority is lower by at least ``distance``. So along any chain of
preemptions priorities fall by that much at each step: it ends, and no task can come back at the cost of the
one that it gave way to.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from farshore_center.placement.choose import DEFAULT
from farshore_center.placement.decisions import Placement
from farshore_center.placement.errors import PlacementError
from farshore_center.placement.judge import hosts
from farshore_center.placement.model import Demand, NodeCapacity
from farshore_center.placement.policies import Policy
from farshore_center.placement.pool import Pool
from farshore_center.placement.room import gpus_with

DISTANCE = 10
SEARCHED = 8
"""On so many of the nodes that look best, a smaller set of victims is searched for ..."""
SETS = 500
"""... among at most so many sets of each size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preemption:
    """``victims`` give way on ``node``; then the task gets these ``gpus``."""

    node: str
    gpus: tuple[int, ...]
    victims: tuple[Placement, ...]


def preempt(
    pool: Pool,
    demand: Demand,
    policy: Policy = DEFAULT,
    *,
    distance: int = DISTANCE,
    spared: Collection[str] = (),
) -> Preemption | None:
    """The least harm that makes room for a task that fits nowhere; None: none that is allowed does.

    Least is, in this order: the lowest highest priority among the victims, the fewest victims, the
    smallest part of their node. ``spared``: tasks that must not give way (a budget for disruptions is
    used up). ``distance`` must be 1 or more. Raises ``PlacementError`` otherwise.
    """
    if distance < 1:
        raise PlacementError(f"the distance of priorities must be 1 or more, not {distance}")
    highest = demand.priority - distance
    cases = []
    for row in np.flatnonzero(hosts(pool, demand, policy)):
        node = pool.columns.names[row]
        case = _Case(
            node=pool.node(node),
            demand=demand,
            stay=tuple(p for p in pool.on(node) if p.priority > highest or p.task in spared),
            weaker=tuple(
                p for p in pool.on(node) if p.priority <= highest and p.task not in spared
            ),
        )
        victims = case.approached()
        if victims is not None:
            cases.append((case.harm(victims), node, case))
    best = [
        (case.harm(victims), node, case, victims)
        for _, node, case in sorted(cases, key=lambda found: found[:2])[:SEARCHED]
        for victims in [case.smallest()]
    ]
    if not best:
        return None
    _, node, case, victims = min(best, key=lambda found: found[:2])
    gpus = case.gpus_without(victims)
    return Preemption(node=node, gpus=gpus or (), victims=victims)


Harm = tuple[int, int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One node: those who stay, and those who could give way."""

    node: NodeCapacity
    demand: Demand
    stay: tuple[Placement, ...]
    weaker: tuple[Placement, ...]

    def gpus_without(self, victims: Collection[Placement]) -> tuple[int, ...] | None:
        gone = {victim.task for victim in victims}
        remain = [held for held in self.weaker if held.task not in gone]
        return gpus_with(self.node, [*self.stay, *remain], self.demand)

    def harm(self, victims: Sequence[Placement]) -> Harm:
        return (
            max((victim.priority for victim in victims), default=0),
            len(victims),
            sum(self._part(victim) for victim in victims),
        )

    def approached(self) -> tuple[Placement, ...] | None:
        """All up to the lowest priority that is enough, less those who can stay, the smallest first."""
        victims: list[Placement] = []
        for priority in sorted({held.priority for held in self.weaker}):
            victims += [held for held in self.weaker if held.priority == priority]
            if self.gpus_without(victims) is not None:
                break
        else:
            return None
        for held in sorted(victims, key=lambda victim: (self._part(victim), victim.task)):
            without = [victim for victim in victims if victim is not held]
            if self.gpus_without(without) is not None:
                victims = without
        return tuple(victims)

    def smallest(self) -> tuple[Placement, ...]:
        """The least harm of few victims, or what was approached."""
        found = self.approached() or ()
        highest, count, _ = self.harm(found)
        may = [held for held in self.weaker if held.priority <= highest]
        for fewer in range(1, count + 1):
            if comb(len(may), fewer) > SETS:
                break
            sets = [
                chosen
                for chosen in combinations(may, fewer)
                if self.gpus_without(chosen) is not None
            ]
            if sets:
                return min(sets, key=lambda chosen: (self.harm(chosen), [v.task for v in chosen]))
        return found

    def _part(self, held: Placement) -> float:
        """Which part of the node it holds."""
        gpu = held.gpu_milli * len(held.gpus) / max(1, 1000 * len(self.node.gpus))
        cpu = held.cpu_milli / max(1, self.node.cpu_milli)
        return gpu + cpu + held.memory_bytes / max(1, self.node.memory_bytes)
