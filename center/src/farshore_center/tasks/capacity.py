"""What a node has, from its facts and its birth; as far as that is plausible. Pure.

A node that tells of more than any machine has is taken for a large one, no more; what is no number is
nothing. Placement compares whole numbers of thousandths and bytes.
"""

from collections.abc import Mapping
from typing import Any

from farshore_center.nodes.registry import NodeEntry
from farshore_center.placement import Link, NodeCapacity

MAX_CORES = 4096
MAX_MEMORY_BYTES = 2**46
MAX_DISK_BYTES = 2**56
MAX_GPUS = 64
MAX_DEVICES = 256

CPU_NAMES = ("cores_logical", "cores_physical")


def capacity_of(
    entry: NodeEntry, facts: Mapping[str, Any], *, refuses: str = "", link: Link | None = None
) -> NodeCapacity:
    capabilities = entry.capabilities
    cpu = _map(facts.get("cpu"))
    cores = next((_amount(cpu.get(name), MAX_CORES) for name in CPU_NAMES if name in cpu), 0)
    memory = _map(facts.get("mem"))
    return NodeCapacity(
        node=entry.name,
        group=entry.group,
        labels=dict(entry.labels),
        cpu_milli=round(cores * 1000),
        memory_bytes=int(_amount(memory.get("total_bytes"), MAX_MEMORY_BYTES)),
        disk_bytes=int(_disks(facts.get("disks"))),
        gpus=_gpus(facts.get("gpus")),
        devices=_devices(facts.get("devices")),
        drivers=frozenset(str(each) for each in capabilities.get("drivers") or ()),
        kind=str(cpu.get("model") or "")[:64],
        battery_pct=_battery(facts.get("battery")),
        cost_per_core_s=_label(entry, "cost_per_core_s"),
        refuses=refuses,
        link=link,
    )


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _amount(value: Any, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        return 0
    return min(value, most)


def _disks(value: Any) -> float:
    total = sum(_amount(_map(disk).get("size_bytes"), MAX_DISK_BYTES) for disk in _list(value))
    return min(total, MAX_DISK_BYTES)


def _gpus(value: Any) -> tuple[str, ...]:
    """The model of each, as it is named; of one without a name, its maker."""
    return tuple(
        str(_map(gpu).get("name") or _map(gpu).get("vendor") or "gpu")[:128]
        for gpu in _list(value)[:MAX_GPUS]
    )


def _devices(value: Any) -> frozenset[str]:
    found = (each if isinstance(each, str) else _map(each).get("name") for each in _list(value))
    return frozenset([each for each in found if isinstance(each, str) and each][:MAX_DEVICES])


def _battery(value: Any) -> float | None:
    percent = _map(value).get("percent")
    if isinstance(percent, bool) or not isinstance(percent, int | float):
        return None
    return float(min(max(percent, 0), 100))


def _label(entry: NodeEntry, name: str) -> float:
    """A number that people wrote on the node; what is none is 0."""
    try:
        value = float(entry.labels.get(name, 0))
    except ValueError:
        return 0.0
    return value if 0 <= value < 1e12 else 0.0
