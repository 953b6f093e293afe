"""What of the fleet a specification is compared with, as it is now."""

from collections.abc import Callable, Iterable

from farshore_center.groups.service import GroupService
from farshore_center.nodes.registry import Registry
from farshore_center.placement import POLICIES, NodeCapacity
from farshore_center.tasks.checking import Known
from farshore_center.tasks.pool import capacity_of
from farshore_center.tasks.quotas import SHOWN


class KnownFleet:
    """``capacities``: what nodes have, of those that have said it."""

    def __init__(
        self,
        registry: Registry,
        groups: GroupService,
        capacities: Callable[[], Iterable[NodeCapacity]],
    ) -> None:
        self._registry = registry
        self._groups = groups
        self._capacities = capacities

    def now(self) -> Known:
        entries = self._registry.all()
        return Known(
            read=self._groups.selection.read,
            groups=frozenset(self._groups.tree.paths()),
            nodes=frozenset(entry.name for entry in entries),
            policies=tuple(POLICIES),
            drivers=counts(entry.capabilities.get("drivers") or () for entry in entries),
            largest=largest(self._capacities()),
        )


def counts(announced: Iterable[Iterable[str]]) -> dict[str, int]:
    """Driver → how many nodes have announced it."""
    found: dict[str, int] = {}
    for drivers in announced:
        for name in frozenset(drivers):
            found[name] = found.get(name, 0) + 1
    return found


def largest(capacities: Iterable[NodeCapacity]) -> dict[str, float] | None:
    """Per resource, the most that one node has, as people count it; None: nobody has said anything."""
    most: dict[str, float] | None = None
    for node in capacities:
        most, there = most or {}, capacity_of(node)
        for name, (title, scale) in SHOWN.items():
            if name in there:
                most[title] = max(most.get(title, 0.0), there[name] / scale)
    return most
