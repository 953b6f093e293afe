"""Makes a failing plan small: fewer faults, fewer nodes, less time, and still the same failure.

Pure but for ``fails``, which runs a world: delta debugging (A. Zeller, R. Hildebrandt, "Simplifying
and Isolating Failure-Inducing Input", 2002) over the list of faults, then the rest by hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from farshore_sim.world.faults import Fault, Plan

Fails = Callable[[Plan], bool]


class _Budget:
    """Asks ``fails`` at most so often; afterwards nothing fails any more, and shrinking ends."""

    def __init__(self, fails: Fails, runs: int) -> None:
        self._fails = fails
        self.left = runs

    def fails(self, plan: Plan) -> bool:
        if self.left <= 0:
            return False
        self.left -= 1
        return self._fails(plan)


def shrink(plan: Plan, fails: Fails, *, runs: int = 300) -> Plan:
    """The smallest plan found that still fails; ``plan`` itself must."""
    budget = _Budget(fails, runs)
    before = None
    while plan != before and budget.left:
        before = plan
        plan = _fewer_faults(plan, budget)
        plan = _fewer_nodes(plan, budget)
        plan = _less_time(plan, budget)
    return plan


def _fewer_faults(plan: Plan, budget: _Budget) -> Plan:
    parts = 2
    while len(plan.faults) >= 1:
        size = max(1, -(-len(plan.faults) // parts))
        smaller = _first_failing(plan, size, budget)
        if smaller is not None:
            plan, parts = smaller, max(2, parts - 1)
        elif size == 1:
            break
        else:
            parts = min(len(plan.faults), parts * 2)
    return plan


def _first_failing(plan: Plan, size: int, budget: _Budget) -> Plan | None:
    """The first plan that fails without one run of ``size`` faults."""
    for start in range(0, len(plan.faults), size):
        rest: Sequence[Fault] = (*plan.faults[:start], *plan.faults[start + size :])
        candidate = replace(plan, faults=tuple(rest))
        if budget.fails(candidate):
            return candidate
    return None


def _fewer_nodes(plan: Plan, budget: _Budget) -> Plan:
    while plan.nodes > 1:
        last = plan.nodes - 1
        faults = tuple(fault for fault in plan.faults if fault.node != last)
        candidate = replace(plan, nodes=last, faults=faults)
        if not budget.fails(candidate):
            break
        plan = candidate
    return plan


def _less_time(plan: Plan, budget: _Budget) -> Plan:
    last_s = max((fault.at_s for fault in plan.faults), default=0.0)
    for after_s in (10.0, 120.0, 600.0):
        hours = round((last_s + after_s) / 3600, 4)
        candidate = replace(plan, hours=hours)
        if hours < plan.hours and budget.fails(candidate):
            return candidate
    return plan
