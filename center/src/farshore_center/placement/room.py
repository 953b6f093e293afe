"""What would be free on one node, and whether a task fits there: for thinking through removals. Pure."""

from collections.abc import Iterable

from farshore_center.placement.decisions import Placement
from farshore_center.placement.model import WHOLE, Demand, NodeCapacity


def gpus_with(
    node: NodeCapacity, stay: Iterable[Placement], demand: Demand
) -> tuple[int, ...] | None:
    """The GPUs that the demand would get beside those who stay, () if it needs none; None: it has no room.

    A share goes to the GPU on which it leaves least.
    """
    inside = node.hands_on(demand.driver)
    has = node.cluster if inside and node.cluster else node
    cpu, memory, disk = has.cpu_milli, has.memory_bytes, node.disk_bytes
    devices, gpus = set(node.devices), [WHOLE] * len(node.gpus)
    for held in stay:
        if node.hands_on(held.driver) == inside:
            cpu -= held.cpu_milli
            memory -= held.memory_bytes
        disk -= held.disk_bytes
        devices -= held.devices
        for index in held.gpus:
            if index < len(gpus):
                gpus[index] -= held.gpu_milli
    if (
        demand.cpu_milli > max(cpu, 0)
        or demand.memory_bytes > max(memory, 0)
        or demand.disk_bytes > max(disk, 0)
        or not demand.devices <= devices
    ):
        return None
    return _gpus(node, gpus, demand)


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
