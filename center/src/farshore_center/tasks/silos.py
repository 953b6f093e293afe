"""What the same work would need where every group had its own nodes for its own work. Pure.

The comparison is in favour of silos: each starts empty and packs its work by best fit, the most important
first and of those the largest, and a node that must be added is of the kind that suits the work.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from farshore_center.placement import POLICIES, Choice, Demand, NodeCapacity, Pool, choose
from farshore_center.tasks.pool import AMOUNTS, Amounts, capacity_of

BEST_FIT = POLICIES["bestfit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One instance that is wanted. ``group``: whose work it is; ``node``: where it runs, None: it waits."""

    id: str
    demand: Demand
    group: str
    node: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silo:
    """``added``: nodes that it would need beside its own; ``impossible``: instances that would not fit on
    any kind of node that there is."""

    nodes: int
    asked: int
    placed: int
    added: tuple[NodeCapacity, ...] = ()
    impossible: int = 0

    def document(self) -> dict[str, Any]:
        return {
            "nodes": self.nodes,
            "asked": self.asked,
            "placed": self.placed,
            "nodes_more": len(self.added),
            "impossible": self.impossible,
        }


def silo_of(path: str, depth: int) -> str:
    """The first ``depth`` levels of a group's path; nodes and work without a group have one silo, ``""``."""
    return "/".join(path.split("/")[:depth])


def report(nodes: Sequence[NodeCapacity], work: Sequence[Work], depth: int = 1) -> dict[str, Any]:
    """``{"depth","together":{"nodes","asked","placed","utilisation"},"apart":{…,"nodes_more",
    "impossible","utilisation"},"groups":{silo: …}}``; ``utilisation``: what the placed work reserves of
    what the nodes have, in 0 to 1, None where they have nothing of it; ``apart`` with the added nodes."""
    where = {node.node: node.group for node in nodes}
    owned: dict[str, list[NodeCapacity]] = {}
    asked: dict[str, list[Work]] = {}
    for node in nodes:
        owned.setdefault(silo_of(node.group, depth), []).append(node)
    for each in work:
        group = each.group or where.get(each.node or "", "")
        asked.setdefault(silo_of(group, depth), []).append(each)
    silos = {
        name: silo(owned.get(name, ()), asked.get(name, ()), nodes)
        for name in sorted({*owned, *asked})
    }
    added = [node for each in silos.values() for node in each.added]
    placed = [each.demand for each in work if each.node is not None]
    impossible = sum(each.impossible for each in silos.values())
    return {
        "depth": depth,
        "together": {
            "nodes": len(nodes),
            "asked": len(work),
            "placed": len(placed),
            "utilisation": utilisation(placed, nodes),
        },
        "apart": {
            "nodes": len(nodes),
            "asked": len(work),
            "placed": sum(each.placed for each in silos.values()),
            "nodes_more": len(added),
            "impossible": impossible,
            # With the nodes that it needs it does the same work.
            "utilisation": utilisation(placed, [*nodes, *added]),
        },
        "groups": {name: each.document() for name, each in silos.items()},
    }


def silo(own: Sequence[NodeCapacity], work: Sequence[Work], kinds: Sequence[NodeCapacity]) -> Silo:
    """The work of a group on the group's own nodes, and what it would need beside them."""
    pool = Pool(replace(node, refuses="") for node in own)
    left = [each for each in _in_order(work) if not _placed(pool, each.id, _bare(each.demand))]
    added: dict[str, NodeCapacity] = {}
    extra = Pool()
    impossible = 0
    for each in left:
        demand = _bare(each.demand)
        on_added = replace(demand, eligible=_copies(demand, added))
        if len(extra) and _placed(extra, each.id, on_added):
            continue
        kind = _kind(each, own, kinds)
        if kind is None:
            impossible += 1
            continue
        copy = replace(kind, node=f"{kind.node}+{len(added)}", refuses="")
        added[copy.node] = kind
        extra.set_node(copy)
        _placed(extra, each.id, replace(demand, eligible=_copies(demand, added)))
    return Silo(
        nodes=len(own),
        asked=len(work),
        placed=len(work) - len(left),
        added=tuple(added.values()),
        impossible=impossible,
    )


def utilisation(
    demands: Iterable[Demand], nodes: Iterable[NodeCapacity]
) -> dict[str, float | None]:
    taken: Amounts = dict.fromkeys(AMOUNTS, 0)
    for demand in demands:
        taken["cpu_milli"] += demand.cpu_milli
        taken["memory_bytes"] += demand.memory_bytes
        taken["disk_bytes"] += demand.disk_bytes
        taken["gpu_milli"] += demand.gpu_total_milli
    there = dict.fromkeys(AMOUNTS, 0)
    for node in nodes:
        for name, amount in capacity_of(node).items():
            there[name] += amount
    return {name: taken[name] / there[name] if there[name] else None for name in AMOUNTS}


def _in_order(work: Iterable[Work]) -> list[Work]:
    def key(each: Work) -> tuple[Any, ...]:
        need = each.demand
        size = (need.gpu_total_milli, need.cpu_milli, need.memory_bytes, need.disk_bytes)
        return -need.priority, *(-amount for amount in size), each.id

    return sorted(work, key=key)


def _bare(demand: Demand) -> Demand:
    """What it needs, without what it would like and how long it takes."""
    return replace(demand, affinities=(), spread=(), peers=(), deadline_s=None, batch=False)


def _placed(pool: Pool, name: str, demand: Demand) -> bool:
    choice = choose(pool, demand, BEST_FIT)
    if not isinstance(choice, Choice):
        return False
    pool.place(name, demand, choice.node, choice.gpus)
    return True


def _copies(demand: Demand, added: Mapping[str, NodeCapacity]) -> frozenset[str] | None:
    """The added nodes that its selector takes: those that are like one that it takes."""
    if demand.eligible is None:
        return None
    return frozenset(name for name, kind in added.items() if kind.node in demand.eligible)


def _kind(
    work: Work, own: Sequence[NodeCapacity], kinds: Sequence[NodeCapacity]
) -> NodeCapacity | None:
    """A node to add one more of: of the group's own that takes it, else where it runs now, else any."""
    now = [node for node in kinds if node.node == work.node]
    for some in (own, now, kinds):
        empty = Pool(replace(node, refuses="") for node in some)
        choice = choose(empty, _bare(work.demand), BEST_FIT) if some else None
        if isinstance(choice, Choice):
            return next(node for node in some if node.node == choice.node)
    return None
