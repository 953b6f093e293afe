"""Filters, scores and books again, node by node in the plainest way: what the columns are compared with."""

import math
from collections.abc import Iterable

from farshore_center.placement import Demand, NodeCapacity, Placement, Policy, Pool
from farshore_center.placement.fgd import TaskMix, fragmentation_by_definition


class Free:
    """What is free on a node beside what is held, for tasks of a driver. ``own_cpu``: beside its GPUs."""

    def __init__(
        self, node: NodeCapacity, held: Iterable[Placement], driver: str = "process"
    ) -> None:
        self.node = node
        self.behind = node.hands_on(driver)
        self.has = has = node.cluster if self.behind and node.cluster else node
        self.cpu, self.memory, self.disk = has.cpu_milli, has.memory_bytes, node.disk_bytes
        self.own_cpu = node.cpu_milli
        self.gpus, self.devices = [1000] * len(node.gpus), set(node.devices)
        for its in held:
            if node.hands_on(its.driver) == self.behind:
                self.cpu -= its.cpu_milli
                self.memory -= its.memory_bytes
            if not node.hands_on(its.driver):
                self.own_cpu -= its.cpu_milli
            self.disk -= its.disk_bytes
            self.devices -= its.devices
            for index in its.gpus:
                if index < len(self.gpus):
                    self.gpus[index] -= its.gpu_milli

    def fragmentation(self, mix: TaskMix) -> float:
        gpus = [
            (model, max(free, 0)) for model, free in zip(self.node.gpus, self.gpus, strict=True)
        ]
        return fragmentation_by_definition(self.own_cpu, gpus, mix)

    def usable(self, demand: Demand) -> list[int]:
        """GPUs that the demand could have, by index."""
        needed = 1000 if demand.gpus else demand.gpu_milli
        return [
            index
            for index, free in enumerate(self.gpus)
            if free >= needed
            and (not demand.gpu_models or self.node.gpus[index] in demand.gpu_models)
        ]

    def sets(self, demand: Demand) -> list[tuple[int, ...]]:
        """The sets of GPUs that are looked at: each one for a share, the first for whole ones."""
        if demand.gpu_milli:
            return [(index,) for index in self.usable(demand)]
        return [tuple(self.usable(demand)[: demand.gpus])] if demand.gpus else [()]

    def growth(self, demand: Demand, gpus: tuple[int, ...], mix: TaskMix) -> float:
        after = Free(self.node, [])
        after.own_cpu = self.own_cpu - (0 if self.behind else demand.cpu_milli)
        after.gpus = list(self.gpus)
        for index in gpus:
            after.gpus[index] -= 1000 if demand.gpus else demand.gpu_milli
        return after.fragmentation(mix) - self.fragmentation(mix)


def reason(node: NodeCapacity, free: Free, demand: Demand) -> str:
    """The first filter of those that look at one node and at the shape; empty: none refuses."""
    needed = demand.gpus or (1 if demand.gpu_milli else 0)
    allowed = [m for m in node.gpus if not demand.gpu_models or m in demand.gpu_models]
    refused = {
        "schedulable": bool(node.refuses),
        "selector": demand.eligible is not None and node.node not in demand.eligible,
        "side": demand.where is not None and node.side != demand.where,
        "driver": demand.driver not in node.drivers,
        "cpu": 0 < demand.cpu_milli > free.cpu,
        "memory": 0 < demand.memory_bytes > free.memory,
        "disk": 0 < demand.disk_bytes > free.disk,
        "gpu_model": bool(needed and demand.gpu_models and not allowed),
        "gpu": bool(needed and len(free.usable(demand)) < needed),
        "devices": not demand.devices <= free.devices,
        "battery": node.battery_pct is not None and node.battery_pct < demand.min_battery_pct,
    }
    return next((name for name, no in refused.items() if no), "")


def row_scores(pool: Pool, free: Free, demand: Demand, policy: Policy) -> dict[str, float]:
    """The scores that look at one node alone."""
    capacities = [pool.node(name) for name in pool.columns.names]
    most_cpu = max(Free(node, [], demand.driver).has.cpu_milli for node in capacities)
    most_gpu = max(len(node.gpus) for node in capacities) * 1000
    growth = min(free.growth(demand, gpus, pool.mix) for gpus in free.sets(demand))
    sigmoid = 1 / (1 + math.exp(growth / 1000))
    left = []
    if most_cpu:
        left.append(max(free.cpu - demand.cpu_milli, 0) / most_cpu)
    if most_gpu:
        gpu = sum(max(0, milli) for milli in free.gpus)
        left.append(max(gpu - demand.gpu_total_milli, 0) / most_gpu)
    cpu = max(0, free.cpu - demand.cpu_milli) / max(1, free.has.cpu_milli)
    memory = max(0, free.memory - demand.memory_bytes) / max(1, free.has.memory_bytes)
    return {
        "fragmentation": math.floor(sigmoid * policy.steps + 1e-9) / policy.steps,
        "bin_packing": 1 - sum(left) / len(left) if left else 1.0,
        "least_loaded": (cpu + memory) / 2,
    }
