"""The pool as columns: what a decision looks at, of all nodes at once.

Rows stand in the order of the nodes' names, so that "the first" is the same on every center. A change
of one node touches one row and notes the version at which that happened; who keeps something that was
worked out from rows (``views.py``) asks which of them changed since.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from farshore_center.placement.decisions import Placement
from farshore_center.placement.model import WHOLE, Cluster, Link, NodeCapacity, Side, within

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int8 | np.int16]
"""Small numbers: of filters, of a node's GPUs."""

NO_GPU = -1
MASKS_KEPT = 256

CENTERS_OWN = Link(up_bytes_s=inf, down_bytes_s=inf, measured=True)
"""A node of the core without a link of its own is where the center is: the other end's link counts."""

ASSUMED = Link(up_bytes_s=1e6, down_bytes_s=1e6, latency_s=0.1)
"""For a node of the edge whose link nobody has measured or described."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Cores and memory of each row for tasks of one driver: the node's own, or those of the cluster behind
    it (``apart``). ``*_free`` may be below 0 on a node that has less than was handed out."""

    cpu: Ints
    cpu_free: Ints
    memory: Ints
    memory_free: Ints
    apart: Bools
    most_cpu: int

    @classmethod
    def of(cls, nodes: Sequence[NodeCapacity], driver: str) -> "Room":
        """For nodes whose rows are filled after it."""
        size = len(nodes)
        has = (node.cluster if node.hands_on(driver) else node for node in nodes)
        return cls(
            cpu=np.zeros(size, np.int64),
            cpu_free=np.zeros(size, np.int64),
            memory=np.zeros(size, np.int64),
            memory_free=np.zeros(size, np.int64),
            apart=np.array([node.hands_on(driver) for node in nodes], np.bool_),
            most_cpu=max((its.cpu_milli for its in has if its), default=0),
        )

    def fill(self, row: int, has: NodeCapacity | Cluster) -> None:
        self.cpu[row] = self.cpu_free[row] = has.cpu_milli
        self.memory[row] = self.memory_free[row] = has.memory_bytes

    def book(self, row: int, placement: Placement, sign: int) -> None:
        self.cpu_free[row] += sign * placement.cpu_milli
        self.memory_free[row] += sign * placement.memory_bytes


class Columns:
    """One row for each node. ``*_free`` may be below 0 on a node that has less than was handed out."""

    def __init__(
        self, nodes: Sequence[NodeCapacity], held: Mapping[str, Mapping[str, Placement]]
    ) -> None:
        self.nodes = list(nodes)
        self.names = [node.node for node in nodes]
        self.row = {name: row for row, name in enumerate(self.names)}
        self.size = len(self.nodes)
        most_gpus = max((len(node.gpus) for node in nodes), default=0)
        self.most_gpu = most_gpus * WHOLE
        self.gpu_width = max(most_gpus, 1)
        self.models = sorted({model for node in nodes for model in node.gpus})
        self._model_code = {model: code for code, model in enumerate(self.models)}
        size = self.size
        self.own = Room.of(self.nodes, "")
        """Of the nodes themselves."""
        handed = {node.cluster.driver for node in self.nodes if node.cluster is not None}
        self._rooms = {driver: Room.of(self.nodes, driver) for driver in sorted(handed)}
        self.disk, self.disk_free = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self.gpu_free = np.zeros((size, self.gpu_width), np.int64)
        self.gpu_model = np.full((size, self.gpu_width), NO_GPU, np.int64)
        self.core = np.zeros(size, np.bool_)
        self.takes = np.zeros(size, np.bool_)
        self.battery = np.full(size, np.inf)
        self.core_cost = np.zeros(size)
        self.up, self.down = np.zeros(size), np.zeros(size)
        self.latency, self.byte_cost = np.zeros(size), np.zeros(size)
        self.link_known = np.zeros(size, np.bool_)
        self.devices_free: list[frozenset[str]] = [frozenset()] * size
        self.version = 0
        self.changed = np.zeros(size, np.int64)
        self._masks: dict[frozenset[str], Bools] = {}
        self._traits: dict[tuple[str, str], Bools] = {}
        self._codes: dict[tuple[str, int | None], Ints] = {}
        self._kinds: tuple[Ints, list[tuple[str, Side]]] | None = None
        for row, node in enumerate(self.nodes):
            self.fill(row, node, held.get(node.node, {}).values())

    def fits_in(self, node: NodeCapacity) -> bool:
        """Whether the node has a row and can be changed in place: all else is measured by the rest."""
        row = self.row.get(node.node)
        if row is None or node.gpus != self.nodes[row].gpus:
            return False
        if node.cluster != self.nodes[row].cluster:
            return False
        before, after = self.nodes[row].cpu_milli, node.cpu_milli
        rooms = (self.own, *self._rooms.values())
        return before == after or max(before, after) < min(room.most_cpu for room in rooms)

    def room(self, driver: str) -> Room:
        """Cores and memory for tasks of the driver."""
        return self._rooms.get(driver, self.own)

    def fill(self, row: int, node: NodeCapacity, held: Iterable[Placement]) -> None:
        """What the node has, less what is held on it."""
        self.nodes[row] = node
        self.own.fill(row, node)
        for driver, room in self._rooms.items():
            room.fill(row, node.cluster if node.cluster and node.hands_on(driver) else node)
        self.disk[row] = self.disk_free[row] = node.disk_bytes
        self.gpu_free[row] = 0
        self.gpu_model[row] = NO_GPU
        for index, model in enumerate(node.gpus):
            self.gpu_free[row, index] = WHOLE
            self.gpu_model[row, index] = self._model_code[model]
        self.core[row] = node.side == "core"
        self.takes[row] = not node.refuses
        self.battery[row] = np.inf if node.battery_pct is None else node.battery_pct
        self.core_cost[row] = node.cost_per_core_s
        self._fill_link(row, node)
        self.devices_free[row] = node.devices
        for (trait, value), column in self._traits.items():
            column[row] = _HAS[trait](node, value)
        self._codes.clear()
        self._kinds = None
        for placement in held:
            self.book(row, placement, -1)
        self._touch(row)

    def _fill_link(self, row: int, node: NodeCapacity) -> None:
        link = node.link or (CENTERS_OWN if node.side == "core" else ASSUMED)
        self.up[row], self.down[row] = link.up_bytes_s, link.down_bytes_s
        self.latency[row], self.byte_cost[row] = link.latency_s, link.cost_per_byte
        self.link_known[row] = link.measured

    def book(self, row: int, placement: Placement, sign: int) -> None:
        """``sign`` -1 takes what the placement holds, +1 gives it back (devices: see ``fill``)."""
        handed_on = self.nodes[row].hands_on(placement.driver)
        if not handed_on:
            self.own.book(row, placement, sign)
        for driver, room in self._rooms.items():
            if room.apart[row] == handed_on and (not handed_on or driver == placement.driver):
                room.book(row, placement, sign)
        self.disk_free[row] += sign * placement.disk_bytes
        for index in placement.gpus:
            if index < len(self.nodes[row].gpus):
                self.gpu_free[row, index] += sign * placement.gpu_milli
        self.devices_free[row] -= placement.devices
        self._touch(row)

    def _touch(self, row: int) -> None:
        self.version += 1
        self.changed[row] = self.version

    def mask(self, names: frozenset[str]) -> Bools:
        """True for the rows of these nodes; names that are not in the pool count for nothing."""
        found = self._masks.get(names)
        if found is None:
            if len(self._masks) >= MASKS_KEPT:
                self._masks.pop(next(iter(self._masks)))
            found = np.zeros(self.size, np.bool_)
            found[[self.row[name] for name in names if name in self.row]] = True
            self._masks[names] = found
        return found

    def having(self, trait: str, value: str) -> Bools:
        """Rows of the nodes with this ``driver``, or at or below this ``group``."""
        found = self._traits.get((trait, value))
        if found is None:
            if len(self._traits) >= MASKS_KEPT:
                self._traits.pop(next(iter(self._traits)))
            has = _HAS[trait]
            found = np.fromiter((has(node, value) for node in self.nodes), np.bool_, self.size)
            self._traits[trait, value] = found
        return found

    def codes(self, by: str, depth: int | None = None) -> Ints:
        """A number for each row, equal where ``by`` has one value, as in ``Spread``."""
        found = self._codes.get((by, depth))
        if found is None:
            values = [_value(node, by, depth) for node in self.nodes]
            numbers = {value: code for code, value in enumerate(dict.fromkeys(values))}
            found = np.fromiter((numbers[value] for value in values), np.int64, self.size)
            self._codes[by, depth] = found
        return found

    def kinds(self) -> tuple[Ints, list[tuple[str, Side]]]:
        """A number for each row, and by it the kind of node and its side."""
        if self._kinds is None:
            values = [(node.kind or node.side, node.side) for node in self.nodes]
            numbers = {value: code for code, value in enumerate(dict.fromkeys(values))}
            codes = np.fromiter((numbers[value] for value in values), np.int64, self.size)
            self._kinds = codes, list(numbers)
        return self._kinds

    def allowed_models(self, models: frozenset[str]) -> Bools:
        """By the code of a model (the last is "no GPU"): whether a task may use it; empty: any."""
        allowed = [not models or model in models for model in self.models]
        return np.array([*allowed, False], np.bool_)


_HAS: Mapping[str, Callable[[NodeCapacity, str], bool]] = {
    "driver": lambda node, value: value in node.drivers,
    "group": lambda node, value: within(node.group, value),
}


def _value(node: NodeCapacity, by: str, depth: int | None) -> str:
    if by == "node":
        return node.node
    if by == "group":
        return "/".join(node.group.split("/")[:depth])
    return node.labels.get(by.removeprefix("label."), "")
