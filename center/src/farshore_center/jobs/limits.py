"""Which nodes may be started now: all at once, in each group, and within the budgets. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from farshore_center.jobs.state import Place, Snapshot

UNDER_WAY = frozenset({"active", "undoing"})


def within(path: str, group: str) -> bool:
    """Whether ``path`` is the group or below it; the empty group is the whole fleet."""
    return group == "" or path == group or path.startswith(group + "/")


@dataclass(slots=True)
class _Left:
    """Of a budget; below zero when others have disrupted more than it permits."""

    group: str
    left: int


class Room:
    """What is left of the limits; ``take`` uses it up."""

    def __init__(self, snapshot: Snapshot, *, budgets: bool = True) -> None:
        rules, facts = snapshot.job.rules, snapshot.facts
        self._places = facts.places
        busy = [each.node for each in snapshot.nodes if each.state in UNDER_WAY]
        self._left = rules.at_once - len(busy)
        self._per_group = rules.at_once_per_group
        self._in_group = Counter(self._group(node) for node in busy)
        self._disrupted = facts.disrupted | frozenset(busy)
        self._budgets = [
            _Left(each.group, each.most.of(facts.group_sizes.get(each.group, 0)))
            for each in (rules.budgets if budgets else ())
        ]
        for budget in self._budgets:
            budget.left -= sum(within(self._group(node), budget.group) for node in self._disrupted)

    def _group(self, node: str) -> str:
        return self._places.get(node, Place()).group

    def take(self, nodes: Iterable[str]) -> tuple[str, ...]:
        """As many of the nodes, in their order, as there is room for."""
        return tuple(node for node in nodes if self._take(node))

    def _take(self, node: str) -> bool:
        group = self._group(node)
        if self._left < 1:
            return False
        if self._per_group is not None and self._in_group[group] >= self._per_group:
            return False
        # A node that is disrupted already costs no budget: nobody loses it a second time.
        touched = [
            budget
            for budget in self._budgets
            if node not in self._disrupted and within(group, budget.group)
        ]
        if any(budget.left < 1 for budget in touched):
            return False
        for budget in touched:
            budget.left -= 1
        self._left -= 1
        self._in_group[group] += 1
        return True
