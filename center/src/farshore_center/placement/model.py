"""What placement reasons about: nodes, demands, and what was decided. Data only.

Units: thousandths of a core (``cpu_milli``), bytes, thousandths of one GPU (``gpu_milli``), seconds,
percent of a battery. All resources are whole numbers, so that the books are exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from farshore_center.placement.errors import CapacityError

Side = Literal["edge", "core"]
CORE_GROUP = "core"
WHOLE = 1000
"""Thousandths of a GPU that are one GPU."""

MOST_GPUS = 1024
"""Of one node: the pool keeps a place for each GPU of the largest one on every node."""

LARGEST = 2**60
"""No amount is above it: sums stay far from the end of 64 bits."""

Shape = tuple[object, ...]


def within(group: str, above: str) -> bool:
    """Whether the group ``group`` is ``above`` or lies below it; everything lies below the root, ``""``."""
    return not above or group == above or group.startswith(above + "/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A node's link to the center, by which everything that is not at the node comes and goes.

    ``measured`` says whether the rates were measured, or are what somebody wrote down; ``measured_ms``:
    when, on the center's clock, for people.
    """

    up_bytes_s: float
    down_bytes_s: float
    latency_s: float = 0.0
    cost_per_byte: float = 0.0
    measured: bool = False
    measured_ms: int | None = None

    def __post_init__(self) -> None:
        if not (self.up_bytes_s > 0 and self.down_bytes_s > 0):
            raise CapacityError("a link's rates must be above 0 bytes a second")
        if not (self.latency_s >= 0 and self.cost_per_byte >= 0):
            raise CapacityError("a link's latency and cost must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What stands behind a node whose driver hands work on: tasks of ``driver`` have this in place of the
    node's own processors and memory; of all else they have the node's."""

    driver: str
    cpu_milli: int = 0
    memory_bytes: int = 0

    def __post_init__(self) -> None:
        check_amounts(
            f"the cluster of {self.driver}",
            cpu_milli=self.cpu_milli,
            memory_bytes=self.memory_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCapacity:
    """What a node has, all of it, whether or not it is in use.

    ``gpus``: the model of each GPU, by its index. ``devices``: named devices, each held by one task at
    a time. ``kind``: nodes of one kind run a task equally fast; empty: the node's side. ``battery_pct``:
    None on mains. ``refuses``: why nothing new may come ("drained", "silent"); empty: it may. ``link``:
    None: unknown. ``doubts``: what the node said of itself and was not believed, for people.
    """

    node: str
    group: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    cpu_milli: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    gpus: tuple[str, ...] = ()
    devices: frozenset[str] = frozenset()
    drivers: frozenset[str] = frozenset({"process"})
    kind: str = ""
    battery_pct: float | None = None
    cost_per_core_s: float = 0.0
    refuses: str = ""
    link: Link | None = None
    cluster: Cluster | None = None
    doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.node:
            raise CapacityError("a node needs a name")
        check_amounts(
            f"node {self.node}",
            cpu_milli=self.cpu_milli,
            memory_bytes=self.memory_bytes,
            disk_bytes=self.disk_bytes,
        )
        if len(self.gpus) > MOST_GPUS:
            count = len(self.gpus)
            raise CapacityError(f"node {self.node}: {count} GPUs are more than {MOST_GPUS}")
        if not self.cost_per_core_s >= 0:
            raise CapacityError(f"node {self.node}: cost_per_core_s must be 0 or more")

    def hands_on(self, driver: str) -> bool:
        """Whether tasks of the driver run in the cluster behind the node."""
        return self.cluster is not None and self.cluster.driver == driver

    @property
    def side(self) -> Side:
        return "core" if within(self.group, CORE_GROUP) else "edge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Nodes that the task would rather run on (``weight`` above 0) or rather not (below 0)."""

    nodes: frozenset[str]
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Keep copies apart: ``by`` is ``node``, ``group`` (so many levels of its path, None: all) or
    ``label.KEY``."""

    by: str
    depth: int | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Data that a task reads or writes, at one node or at every node of a group (one of the two)."""

    size_bytes: int
    node: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        check_amounts("data", size_bytes=self.size_bytes)
        if bool(self.node) == bool(self.group):
            raise CapacityError("data lies at a node or in a group: name one of the two")


Way = Literal["up", "down"]
"""Of a node's link: away from it, or to it."""


class Transfer(NamedTuple):
    """Bytes that pass a node's link."""

    node: str
    way: Way
    size_bytes: int


Traffic = Mapping[tuple[str, Way], Sequence[int]]
"""Bytes that are still to pass each link, of each task that moves something there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTime:
    """How long runs took; ``count`` 0 with a guess by whoever wrote the task."""

    mean_s: float
    p95_s: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a task needs and would like.

    ``gpus`` whole GPUs, or ``gpu_milli`` thousandths of one: not both. ``gpu_models``: allowed models,
    empty: any. ``where``: a side, None: either. ``eligible``: nodes that its selector takes, None: all.
    ``peers``: the node of each copy that runs already, for ``spread``. ``over_document``: nodes that can't
    be told of it, since what they have to do would be too large. ``deadline_s``: from now. ``run_times``:
    measured, by node, by kind, by side, or ``*`` for anywhere. ``run_hint_s``: a guess. ``traffic``: of
    others, meanwhile. ``batch``: candidates are sampled.
    """

    cpu_milli: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    gpus: int = 0
    gpu_milli: int = 0
    gpu_models: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    driver: str = "process"
    where: Side | None = None
    priority: int = 50
    batch: bool = False
    min_battery_pct: float = 20.0
    eligible: frozenset[str] | None = None
    affinities: tuple[Affinity, ...] = ()
    spread: tuple[Spread, ...] = ()
    peers: tuple[str, ...] = ()
    reads: tuple[Data, ...] = ()
    writes: tuple[Data, ...] = ()
    over_document: frozenset[str] = frozenset()
    deadline_s: float | None = None
    run_times: Mapping[str, RunTime] = field(default_factory=dict)
    run_hint_s: float | None = None
    traffic: Traffic = field(default_factory=dict)
    shape: Shape = field(init=False, repr=False, compare=False)
    """What the filters that look at one node alone depend on: equal shapes share their work."""
    plain: bool = field(init=False, repr=False, compare=False)
    """Nothing but its shape counts for where it goes."""

    def __post_init__(self) -> None:
        check_amounts(
            "the task",
            cpu_milli=self.cpu_milli,
            memory_bytes=self.memory_bytes,
            disk_bytes=self.disk_bytes,
            gpus=self.gpus,
            gpu_milli=self.gpu_milli,
        )
        if self.gpu_milli >= WHOLE:
            raise CapacityError("gpu_milli is a share of one GPU, below 1000; whole ones are gpus")
        if self.gpus and self.gpu_milli:
            raise CapacityError(
                "whole GPUs or a share of one: gpus and gpu_milli exclude each other"
            )
        shape = (
            *(self.cpu_milli, self.memory_bytes, self.disk_bytes, self.gpus, self.gpu_milli),
            *(self.gpu_models, self.devices, self.driver, self.where, self.min_battery_pct),
        )
        own = (
            *(
                self.affinities,
                self.spread and self.peers,
                self.reads,
                self.writes,
                self.over_document,
            ),
            *(self.run_times, self.batch, self.eligible is not None),
            *(self.deadline_s is not None, self.run_hint_s is not None),
        )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "plain", not any(own))

    @property
    def timed(self) -> bool:
        """Whether it matters where it would be done sooner: it has data, or was measured."""
        return bool(self.reads or self.writes or self.run_times)

    @property
    def gpu_total_milli(self) -> int:
        return self.gpus * WHOLE + self.gpu_milli


def check_amounts(whose: str, **amounts: int) -> None:
    for name, amount in amounts.items():
        if type(amount) is not int:
            raise CapacityError(f"{whose}: {name} must be a whole number, not {amount!r}")
        if not 0 <= amount <= LARGEST:
            raise CapacityError(f"{whose}: {name} must be from 0 to {LARGEST}, not {amount}")
