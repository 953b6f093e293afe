"""What would be free on one node, and whether a task fits there: for thinking through removals. Pure."""

from collections.abc import Collection, Iterable, Sequence

from farshore_center.placement.decisions import Placement
from farshore_center.placement.model import WHOLE, Demand, NodeCapacity


def gpus_with(
    node: NodeCapacity, stay: Iterable[Placement], demand: Demand
) -> tuple[int, ...] | None:
    """The GPUs that the demand would get beside those who stay, () if it needs none; None: it has no room.

    A share goes to the GPU on which it leaves least.
    """
    return Beside(node, tuple(stay), demand).gpus_without(())


class Beside:
    """What is free on one node beside those who hold something there, and beside fewer of them."""

    def __init__(self, node: NodeCapacity, held: Sequence[Placement], demand: Demand) -> None:
        self._node, self._held, self._demand = node, held, demand
        self._inside = inside = node.hands_on(demand.driver)
        has = node.cluster if inside and node.cluster else node
        self._cpu, self._memory, self._disk = has.cpu_milli, has.memory_bytes, node.disk_bytes
        self._gpus = [WHOLE] * len(node.gpus)
        for each in held:
            if node.hands_on(each.driver) == inside:
                self._cpu -= each.cpu_milli
                self._memory -= each.memory_bytes
            self._disk -= each.disk_bytes
            for index in each.gpus:
                if index < len(self._gpus):
                    self._gpus[index] -= each.gpu_milli

    def gpus_without(self, gone: Collection[Placement]) -> tuple[int, ...] | None:
        """As ``gpus_with`` of the others. ``gone``: some of those who hold something there."""
        node, demand = self._node, self._demand
        cpu, memory, disk = self._cpu, self._memory, self._disk
        gpus = list(self._gpus)
        for each in gone:
            if node.hands_on(each.driver) == self._inside:
                cpu += each.cpu_milli
                memory += each.memory_bytes
            disk += each.disk_bytes
            for index in each.gpus:
                if index < len(gpus):
                    gpus[index] += each.gpu_milli
        if (
            demand.cpu_milli > max(cpu, 0)
            or demand.memory_bytes > max(memory, 0)
            or demand.disk_bytes > max(disk, 0)
        ):
            return None
        if demand.devices and not demand.devices <= self._devices(gone):
            return None
        return _gpus(node, gpus, demand)

    def _devices(self, gone: Collection[Placement]) -> frozenset[str]:
        """Two that were adopted may hold the same."""
        names = {each.task for each in gone}
        held = (each.devices for each in self._held if each.task not in names)
        return self._node.devices.difference(*held)


def _gpus(node: NodeCapacity, free: list[int], demand: Demand) -> tuple[int, ...] | None:
    needed = WHOLE if demand.gpus else demand.gpu_milli
    if not needed:
        return ()
    may = [
        index
        for index, model in enumerate(node.gpus)
        if free[index] >= needed and (not demand.gpu_models or model in demand.gpu_models)
    ]
    if demand.gpus:
        return tuple(may[: demand.gpus]) if len(may) >= demand.gpus else None
    return (min(may, key=lambda index: free[index]),) if may else None
