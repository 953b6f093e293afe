"""Cages where there are no control groups: the kernel's limits upon each process. They bound memory for
each process by itself and the processors by affinity; who belongs to an instance, and what it uses,
they can't tell (docs/decisions/0015)."""

from farshore_edge.tasks.drivers.limits.bounds import Bounds, confinement
from farshore_edge.tasks.drivers.limits.model import Open
from farshore_edge.tasks.drivers.model import Work


class ProcessLimits:
    kind = "rlimits"
    controllers: frozenset[str] = frozenset()

    def make(self, work: Work) -> Open:
        return Open(confinement(Bounds.of(work), self.controllers))

    def find(self, work_id: str) -> Open:  # noqa: ARG002 # there is nothing to be found
        return Open()

    def ids(self) -> frozenset[str]:
        return frozenset()
