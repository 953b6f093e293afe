"""Who must give way so that a task of higher priority finds room. Pure; nothing is stopped here.

A task may only take the place of one whose priority is lower by at least ``distance``. So along any chain of
preemptions priorities fall by that much at each step: it ends, and no task can come back at the cost of the
one that it gave way to.
"""

from collections.abc import Collection
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from farshore_center.placement.choose import DEFAULT
from farshore_center.placement.decisions import Placement
from farshore_center.placement.errors import PlacementError
from farshore_center.placement.holders import Harm, harm, part
from farshore_center.placement.judge import hosts
from farshore_center.placement.model import Demand, NodeCapacity
from farshore_center.placement.policies import Policy
from farshore_center.placement.pool import Pool
from farshore_center.placement.room import Beside

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
    cases: list[tuple[Harm, str, _Case, int]] = []
    rows = np.flatnonzero(hosts(pool, demand, policy))
    for bound, row in pool.holders.least(rows, demand, highest):
        name = pool.columns.names[row]
        if len(cases) == SEARCHED and (bound, name) > cases[-1][:2]:
            break  # neither this node nor one after it does less harm than those that were found
        case = _Case.of(pool, name, demand, highest, spared)
        victims = case.approached()
        if victims is not None:
            its = case.harm(victims)
            cases.append((its, name, case, bound[1] if bound[0] == its[0] else 1))
            cases = sorted(cases, key=lambda found: found[:2])[:SEARCHED]
    best = [
        (case.harm(victims), node, case, victims)
        for _, node, case, fewest in cases
        for victims in [case.smallest(fewest)]
    ]
    if not best:
        return None
    _, node, case, victims = min(best, key=lambda found: found[:2])
    gpus = case.gpus_without(victims)
    return Preemption(node=node, gpus=gpus or (), victims=victims)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One node: who could give way there, and what is free beside all."""

    node: NodeCapacity
    beside: Beside
    weaker: tuple[Placement, ...]

    @classmethod
    def of(
        cls, pool: Pool, node: str, demand: Demand, highest: int, spared: Collection[str]
    ) -> "_Case":
        held = pool.on(node)
        return cls(
            node=pool.node(node),
            beside=Beside(pool.node(node), held, demand),
            weaker=tuple(p for p in held if p.priority <= highest and p.task not in spared),
        )

    def gpus_without(self, victims: Collection[Placement]) -> tuple[int, ...] | None:
        return self.beside.gpus_without(victims)

    def harm(self, victims: Collection[Placement]) -> Harm:
        return harm(self.node, victims)

    def approached(self) -> tuple[Placement, ...] | None:
        """All up to the lowest priority that is enough, less those who can stay, the smallest first."""
        victims: list[Placement] = []
        for priority in sorted({held.priority for held in self.weaker}):
            victims += [held for held in self.weaker if held.priority == priority]
            if self.gpus_without(victims) is not None:
                break
        else:
            return None
        for held in sorted(victims, key=lambda victim: (part(self.node, victim), victim.task)):
            without = [victim for victim in victims if victim is not held]
            if self.gpus_without(without) is not None:
                victims = without
        return tuple(victims)

    def smallest(self, fewest: int) -> tuple[Placement, ...]:
        """The least harm of few victims, or what was approached. It is known to take ``fewest`` at least."""
        found = self.approached() or ()
        highest, count, _ = self.harm(found)
        may = [held for held in self.weaker if held.priority <= highest]
        for size in range(1, count + 1):
            if comb(len(may), size) > SETS:
                break
            if size < fewest:
                continue
            sets = [
                chosen
                for chosen in combinations(may, size)
                if self.gpus_without(chosen) is not None
            ]
            if sets:
                return min(sets, key=lambda chosen: (self.harm(chosen), [v.task for v in chosen]))
        return found
