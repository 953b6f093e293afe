"""The pool as people see it: what there is, what is reserved, used and stranded, by group and in all. Pure.

Of each node: capacity = reserved + free, and what is free at a node that takes nothing now (silent,
drained) is closed. **Stranded** is what is free and open, and of no use to the work that there is, as
something else at that node is exhausted: for each typical task that asks for a resource, all of it where
the task does not fit, weighted by how many ask so. Of GPUs, also the free shares that are smaller than what
is asked of one. This is the measure F of Weng et al. (USENIX ATC 2023), taken to every resource.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from farshore_protocol.names import group_ancestors

from farshore_center.placement.decisions import Placement
from farshore_center.placement.model import WHOLE, Demand, NodeCapacity

AMOUNTS = ("cpu_milli", "memory_bytes", "disk_bytes", "gpu_milli")

HANDED_ON = ("cpu_milli", "memory_bytes")
"""Of which a cluster behind the node has its own."""

SUMS = ("capacity", "reserved", "free", "closed")

Amounts = dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBooks:
    """A node with what is booked on it. ``used``: as telemetry has it, absent where it does not tell."""

    capacity: NodeCapacity
    held: tuple[Placement, ...] = ()
    online: bool = True
    drained: bool = False
    used: Mapping[str, int] | None = None

    @property
    def open(self) -> bool:
        return self.online and not self.drained and not self.capacity.refuses


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a typical task asks for; ``share``: its part of all, in 0 to 1."""

    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    gpus: int
    gpu_milli: int
    gpu_models: frozenset[str]
    driver: str
    share: float

    @property
    def per_gpu_milli(self) -> int:
        return WHOLE if self.gpus else self.gpu_milli

    def asks(self, resource: str) -> bool:
        return bool(self.per_gpu_milli if resource == "gpu_milli" else getattr(self, resource))


def mix_of(demands: Iterable[Demand]) -> tuple[Shape, ...]:
    """The shapes of all instances that are wanted, with their shares."""
    counts: dict[tuple[Any, ...], int] = {}
    for each in demands:
        key = (
            *(each.cpu_milli, each.memory_bytes, each.disk_bytes),
            *(each.gpus, each.gpu_milli, each.gpu_models, each.driver),
        )
        counts[key] = counts.get(key, 0) + 1
    total = sum(counts.values())
    return tuple(
        Shape(
            cpu_milli=cpu,
            memory_bytes=memory,
            disk_bytes=disk,
            gpus=gpus,
            gpu_milli=milli,
            gpu_models=models,
            driver=driver,
            share=number / total,
        )
        for (cpu, memory, disk, gpus, milli, models, driver), number in counts.items()
    )


@dataclass(slots=True, kw_only=True)
class Share:
    """The sums of some nodes. ``told``: how many of them said what they use; ``stranded`` lacks a resource
    that no work asks for."""

    nodes: int = 0
    online: int = 0
    drained: int = 0
    told: int = 0
    sums: dict[str, Amounts] = field(
        default_factory=lambda: {what: dict.fromkeys(AMOUNTS, 0) for what in SUMS}
    )
    used: Amounts = field(default_factory=dict)
    stranded: dict[str, float] = field(default_factory=dict)

    def add(self, what: str, amounts: Mapping[str, int]) -> None:
        for name, amount in amounts.items():
            self.sums[what][name] += amount

    def document(self) -> dict[str, Any]:
        return {
            "nodes": self.nodes,
            "online": self.online,
            "drained": self.drained,
            **self.sums,
            "used": {name: self.used.get(name) for name in AMOUNTS} if self.told else None,
            "told": self.told,
            "stranded": {
                name: round(self.stranded[name]) if name in self.stranded else None
                for name in AMOUNTS
            },
        }


def view(
    books: Sequence[NodeBooks], mix: Sequence[Shape], *, nodes: bool = False
) -> dict[str, Any]:
    """``{"total": SHARE, "groups": {path: SHARE}}``; a group counts all of its subtree. With ``nodes`` also
    ``{"nodes": {name: SHARE}}``."""
    asked = [name for name in AMOUNTS if any(shape.asks(name) for shape in mix)]
    total, groups, each_node = Share(), dict[str, Share](), dict[str, Share]()
    for each in books:
        paths = group_ancestors(each.capacity.group)
        shares = [total, *(groups.setdefault(path, Share()) for path in paths)]
        if nodes:
            shares.append(each_node.setdefault(each.capacity.node, Share()))
        free, lost = free_of(each), stranded_of(each, mix) if each.open else {}
        for share in shares:
            _count(share, each, free)
            for name in asked:
                share.stranded[name] = share.stranded.get(name, 0) + lost.get(name, 0)
    found = {"total": total.document(), "groups": _documents(groups)}
    return found | ({"nodes": _documents(each_node)} if nodes else {})


def _documents(shares: Mapping[str, Share]) -> dict[str, Any]:
    return {name: shares[name].document() for name in sorted(shares)}


def _count(share: Share, books: NodeBooks, free: Amounts) -> None:
    share.nodes += 1
    share.online += books.online
    share.drained += books.drained
    share.add("capacity", capacity_of(books.capacity))
    share.add("reserved", reserved_of(books.held))
    share.add("free" if books.open else "closed", free)
    if books.used is not None:
        share.told += 1
        for name, amount in books.used.items():
            share.used[name] = share.used.get(name, 0) + amount


def capacity_of(node: NodeCapacity) -> Amounts:
    """With the cluster behind it."""
    cluster = node.cluster
    return {
        "cpu_milli": node.cpu_milli + (cluster.cpu_milli if cluster else 0),
        "memory_bytes": node.memory_bytes + (cluster.memory_bytes if cluster else 0),
        "disk_bytes": node.disk_bytes,
        "gpu_milli": len(node.gpus) * WHOLE,
    }


def _parts(node: NodeCapacity) -> list[Amounts]:
    whole = capacity_of(node)
    return [
        whole | {name: getattr(part, name) for name in HANDED_ON}
        for part in (node, node.cluster)
        if part is not None
    ]


def largest_of(nodes: Iterable[NodeCapacity]) -> Amounts | None:
    """Per resource, the most that one node, or the cluster behind it, has; None: there is none."""
    found = [part for node in nodes for part in _parts(node)]
    return {name: max(each[name] for each in found) for name in AMOUNTS} if found else None


def reserved_of(held: Iterable[Placement]) -> Amounts:
    total = dict.fromkeys(AMOUNTS, 0)
    for each in held:
        total["cpu_milli"] += each.cpu_milli
        total["memory_bytes"] += each.memory_bytes
        total["disk_bytes"] += each.disk_bytes
        total["gpu_milli"] += each.gpu_milli * len(each.gpus)
    return total


def free_of(books: NodeBooks) -> Amounts:
    """Never below 0: a node that has less than it was thought to have has nothing to give."""
    own = part_free_of(books, handed_on=False)
    if books.capacity.cluster is None:
        return own
    behind = part_free_of(books, handed_on=True)
    return own | {name: own[name] + behind[name] for name in HANDED_ON}


def part_free_of(books: NodeBooks, *, handed_on: bool) -> Amounts:
    """What tasks of the cluster's driver find free at the node, or all others."""
    node = books.capacity
    has = node.cluster if handed_on and node.cluster else node
    held = [each for each in books.held if node.hands_on(each.driver) == handed_on]
    reserved = reserved_of(books.held) | {name: reserved_of(held)[name] for name in HANDED_ON}
    capacity = capacity_of(node) | {name: getattr(has, name) for name in HANDED_ON}
    free = {name: max(0, capacity[name] - reserved[name]) for name in AMOUNTS}
    return free | {"gpu_milli": sum(_free_gpus(books))}


def _free_gpus(books: NodeBooks) -> list[int]:
    free = [WHOLE] * len(books.capacity.gpus)
    for each in books.held:
        for index in each.gpus:
            if index < len(free):
                free[index] -= each.gpu_milli
    return [max(0, each) for each in free]


def stranded_of(books: NodeBooks, mix: Sequence[Shape]) -> dict[str, float]:
    """Of what is free at the node, what typical tasks can't use."""
    parts = {on: part_free_of(books, handed_on=on) for on in (False, True)}
    gpus = _free_gpus(books)
    lost = dict.fromkeys(AMOUNTS, 0.0)
    weights = dict.fromkeys(AMOUNTS, 0.0)
    for shape in mix:
        free = parts[books.capacity.hands_on(shape.driver)]
        usable = _usable_gpus(books.capacity, gpus, shape)
        fits = _fits(free, usable, shape)
        for name in AMOUNTS:
            if not shape.asks(name):
                continue
            weights[name] += shape.share
            left = (sum(usable) if name == "gpu_milli" else free[name]) if fits else 0
            lost[name] += shape.share * (free[name] - left)
    return {name: lost[name] / weights[name] for name in AMOUNTS if weights[name]}


def _usable_gpus(node: NodeCapacity, free: Sequence[int], shape: Shape) -> list[int]:
    """Free thousandths of each GPU on which one such task could have what it wants."""
    return [
        amount if amount >= shape.per_gpu_milli and _takes(shape, model) else 0
        for model, amount in zip(node.gpus, free, strict=True)
    ]


def _takes(shape: Shape, model: str) -> bool:
    return not shape.gpu_models or model in shape.gpu_models


def _fits(free: Mapping[str, int], usable: Sequence[int], shape: Shape) -> bool:
    needed = shape.gpus or (1 if shape.gpu_milli else 0)
    return (
        all(getattr(shape, name) <= free[name] for name in AMOUNTS[:3])
        and sum(1 for each in usable if each) >= needed
    )
