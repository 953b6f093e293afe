"""What was decided: who holds what, who refused, the choice and the numbers behind it. Data only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from farshore_center.placement.model import WHOLE, Demand, Transfer


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What a task holds on a node. ``gpu_milli`` on each of ``gpus``; ``driver``: cores and memory may be
    those of the cluster behind the node."""

    task: str
    node: str
    cpu_milli: int
    memory_bytes: int
    disk_bytes: int
    gpus: tuple[int, ...]
    gpu_milli: int
    devices: frozenset[str]
    priority: int
    driver: str = "process"


def placement_of(task: str, demand: Demand, node: str, gpus: tuple[int, ...]) -> Placement:
    """What the task holds if it gets this place."""
    return Placement(
        task=task,
        node=node,
        cpu_milli=demand.cpu_milli,
        memory_bytes=demand.memory_bytes,
        disk_bytes=demand.disk_bytes,
        gpus=gpus,
        gpu_milli=WHOLE if demand.gpus else demand.gpu_milli,
        devices=demand.devices,
        priority=demand.priority,
        driver=demand.driver,
    )


@dataclass(frozen=True, slots=True)
class Rejection:
    """How many nodes a filter refused. Each node counts for the first filter that refuses it."""

    filter: str
    nodes: int


Origin = Literal["measured", "measured elsewhere", "hint", "assumed", "unknown"]
"""Where a number comes from; all but the first are estimates. ``hint``: by who wrote the task;
``assumed``: nobody has measured or written it."""


@dataclass(frozen=True, slots=True)
class End:
    """When something that is held is expected to be gone, from now; ``origin``: where that comes from."""

    in_s: float
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number of an estimate, with its unit (``s``, ``bytes``, ``money``) and where it comes from."""

    name: str
    value: float | None
    unit: str
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A node for the task. ``parts``: each score in 0 to 1; ``mean``: weighted by ``weights``.

    ``candidates``: nodes that no filter refused. ``sampled``: those that were looked at, None: all of
    them. ``figures``: what the cost was reckoned from, where the task has data or a run time.
    ``transfers``: what it moves over the links of the edge.
    """

    node: str
    gpus: tuple[int, ...]
    parts: Mapping[str, float]
    weights: Mapping[str, float]
    mean: float
    candidates: int
    rejections: tuple[Rejection, ...]
    sampled: frozenset[str] | None = None
    figures: tuple[Figure, ...] = ()
    transfers: tuple[Transfer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaceable:
    """No node takes the task. The rejections add up to ``nodes``, all that there are."""

    nodes: int
    rejections: tuple[Rejection, ...]

    def __str__(self) -> str:
        if not self.nodes:
            return "no node: the pool is empty"
        refused = ", ".join(f"{r.filter} refuses {r.nodes}" for r in self.rejections)
        return f"none of {self.nodes} nodes: {refused}"
