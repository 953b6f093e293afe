"""What a node has, from its facts, its birth and its labels; as far as that is plausible. Pure.

A node that tells of more than any machine has is taken for a large one, no more; what is no number is
nothing. Either is told (``NodeCapacity.doubts``). Placement compares whole numbers of thousandths and bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

from farshore_center.nodes.registry import NodeEntry
from farshore_center.placement import Cluster, Link, NodeCapacity
from farshore_center.placement.columns import ASSUMED, CENTERS_OWN

MAX_CORES = 4096
MAX_MEMORY_BYTES = 2**46
MAX_DISK_BYTES = 2**56
MAX_GPUS = 64
MAX_DEVICES = 256
MAX_CLUSTER_CORES = 2**20
MAX_CLUSTER_BYTES = 2**52
MAX_DOUBTS = 16
MAX_COST = 1e12

CPU_NAMES = ("cores_logical", "cores_physical")
LABELS = ("kind", "cost_per_core_s", "cost_per_byte")
"""Labels of a node that placement reads."""


@dataclass(slots=True)
class Reader:
    """Reads amounts, and notes what was not believed."""

    doubts: list[str] = field(default_factory=list)

    def doubt(self, what: str, value: Any, taken: str) -> None:
        if len(self.doubts) < MAX_DOUBTS:
            self.doubts.append(f"{what}: {str(value)[:64]} is not believed; {taken}")

    def amount(self, what: str, value: Any, most: float) -> float:
        """0 for what is no number or below 0, ``most`` for what is above it."""
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            self.doubt(what, value, "it counts as 0")
            return 0
        if value > most:
            self.doubt(what, value, f"it counts as {most:g}")
        return min(value, most)

    def label(self, entry: NodeEntry, name: str) -> float:
        """A number that people wrote on the node; what is none is 0."""
        text = entry.labels.get(name, "")
        if not text:
            return 0.0
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if isfinite(value) and 0 <= value <= MAX_COST:
            return value
        self.doubt(f"label {name}", text, "it counts as 0")
        return 0.0


def capacity_of(
    entry: NodeEntry,
    facts: Mapping[str, Any],
    *,
    refuses: str = "",
    link: Link | None = None,
    battery_pct: float | None = None,
) -> NodeCapacity:
    """``link``: as it was measured; ``battery_pct``: None on mains. Of the labels: ``kind`` in place of the
    processor's model, ``cost_per_core_s``, ``cost_per_byte``."""
    read = Reader()
    cpu, memory = _map(facts.get("cpu")), _map(facts.get("mem"))
    name = next((name for name in CPU_NAMES if name in cpu), CPU_NAMES[0])
    cores = read.amount(f"cpu.{name}", cpu.get(name), MAX_CORES)
    found = NodeCapacity(
        node=entry.name,
        group=entry.group,
        labels=dict(entry.labels),
        cpu_milli=round(cores * 1000),
        memory_bytes=int(
            read.amount("mem.total_bytes", memory.get("total_bytes"), MAX_MEMORY_BYTES)
        ),
        disk_bytes=int(_disks(facts.get("disks"), read)),
        gpus=_gpus(facts.get("gpus"), read),
        devices=_devices(facts.get("devices"), read),
        drivers=frozenset(str(each) for each in entry.capabilities.get("drivers") or ()),
        kind=entry.labels.get("kind") or str(cpu.get("model") or "")[:64],
        battery_pct=battery_pct,
        cost_per_core_s=read.label(entry, "cost_per_core_s"),
        refuses=refuses,
        cluster=_cluster(facts.get("cluster"), read),
    )
    way = _link(found, link, read.label(entry, "cost_per_byte"))
    return replace(found, link=way, doubts=tuple(read.doubts))


def _link(node: NodeCapacity, measured: Link | None, cost_per_byte: float) -> Link | None:
    """Of a node of the core what probes find is the broker's rate: it is where the center is."""
    link = None if node.side == "core" else measured
    if not cost_per_byte:
        return link
    assumed = CENTERS_OWN if node.side == "core" else ASSUMED
    return replace(link or assumed, cost_per_byte=cost_per_byte)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _disks(value: Any, read: Reader) -> float:
    sizes = [_map(disk).get("size_bytes") for disk in _list(value)]
    total = sum(read.amount("disks.size_bytes", size, MAX_DISK_BYTES) for size in sizes)
    return min(total, MAX_DISK_BYTES)


def _gpus(value: Any, read: Reader) -> tuple[str, ...]:
    """The model of each, as it is named; of one without a name, its maker."""
    found = _list(value)
    if len(found) > MAX_GPUS:
        read.doubt("gpus", len(found), f"it counts as {MAX_GPUS}")
    return tuple(
        str(_map(gpu).get("name") or _map(gpu).get("vendor") or "gpu")[:128]
        for gpu in found[:MAX_GPUS]
    )


def _devices(value: Any, read: Reader) -> frozenset[str]:
    names = (each if isinstance(each, str) else _map(each).get("name") for each in _list(value))
    found = [each for each in names if isinstance(each, str) and each]
    if len(found) > MAX_DEVICES:
        read.doubt("devices", len(found), f"the first {MAX_DEVICES} count")
    return frozenset(found[:MAX_DEVICES])


def _cluster(value: Any, read: Reader) -> Cluster | None:
    """The fact ``cluster``: what tasks of its driver have in place of the node's own."""
    told = _map(value)
    driver = told.get("driver")
    if not isinstance(driver, str) or not driver:
        if value is not None:
            read.doubt("cluster.driver", driver, "there is no cluster")
        return None
    cores = read.amount("cluster.cpu_cores", told.get("cpu_cores"), MAX_CLUSTER_CORES)
    memory = read.amount("cluster.memory_bytes", told.get("memory_bytes"), MAX_CLUSTER_BYTES)
    return Cluster(driver=driver, cpu_milli=round(cores * 1000), memory_bytes=int(memory))
