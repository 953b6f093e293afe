"""The books: which task holds what on which node. Whole numbers; never more than there is.

``place`` refuses what is not free. ``adopt`` books what runs already, also beyond what the node has (it
told of more than it had, or shrank): nothing new fits there until that is gone.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from farshore_center.placement.columns import Columns
from farshore_center.placement.decisions import Placement, placement_of
from farshore_center.placement.errors import DoesNotFitError, UnknownNodeError, UnknownTaskError
from farshore_center.placement.fgd import EVEN_MIX, TaskMix
from farshore_center.placement.holders import Holders
from farshore_center.placement.model import Demand, NodeCapacity
from farshore_center.placement.views import Views


class Pool:
    """All nodes of one scheduler, and what is handed out. Not for several threads at once.

    ``mix``: what typical tasks ask for, which fragmentation is measured by.
    """

    def __init__(self, nodes: Iterable[NodeCapacity] = (), *, mix: TaskMix = EVEN_MIX) -> None:
        self._nodes = {node.node: node for node in nodes}
        self._held: dict[str, dict[str, Placement]] = {}
        self._tasks: dict[str, Placement] = {}
        self._mix = mix
        self._columns: Columns | None = None
        self._views: Views | None = None
        self._holders: Holders | None = None
        self.last_node = ""
        """Where a task was placed last, for ``round_robin``."""

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, node: str) -> bool:
        return node in self._nodes

    @property
    def columns(self) -> Columns:
        if self._columns is None:
            rows = [self._nodes[name] for name in sorted(self._nodes)]
            self._columns = Columns(rows, self._held)
            self._views = None
        return self._columns

    @property
    def views(self) -> Views:
        columns = self.columns
        if self._views is None:
            self._views = Views(columns, self._mix)
        return self._views

    @property
    def holders(self) -> Holders:
        columns = self.columns
        if self._holders is None or self._holders.columns is not columns:
            self._holders = Holders(columns, self._held)
        self._holders.refresh()
        return self._holders

    @property
    def mix(self) -> TaskMix:
        return self._mix

    def set_mix(self, mix: TaskMix) -> None:
        self._mix, self._views = mix, None

    def node(self, name: str) -> NodeCapacity:
        try:
            return self._nodes[name]
        except KeyError:
            raise UnknownNodeError(f"node {name} is not in the pool") from None

    def set_node(self, node: NodeCapacity) -> None:
        """Adds the node, or says anew what it has; what its tasks hold stays booked."""
        self._nodes[node.node] = node
        columns = self._columns
        if columns is not None and columns.fits_in(node):
            columns.fill(columns.row[node.node], node, self.on(node.node))
        else:
            self._columns = None

    def drop_node(self, name: str) -> tuple[Placement, ...]:
        """Takes the node away, and gives what was held on it."""
        self.node(name)
        del self._nodes[name]
        self._columns = None
        gone = tuple(self._held.pop(name, {}).values())
        for placement in gone:
            del self._tasks[placement.task]
        return gone

    def place(self, task: str, demand: Demand, node: str, gpus: tuple[int, ...] = ()) -> Placement:
        """Books the demand on the node and these GPUs (a ``Choice`` names both)."""
        placement = self._placement(task, demand, node, gpus)
        short = self._short(placement)
        wanted = demand.gpus or (1 if demand.gpu_milli else 0)
        if len(set(gpus)) != wanted:
            short = f"it needs {wanted} GPUs, {len(set(gpus))} are named"
        if short:
            raise DoesNotFitError(f"task {task} does not fit on node {node}: {short}")
        self._book(placement)
        self.last_node = node
        return placement

    def adopt(self, task: str, demand: Demand, node: str, gpus: tuple[int, ...] = ()) -> Placement:
        """Books what runs there already, whether or not it fits."""
        placement = self._placement(task, demand, node, gpus)
        self._book(placement)
        return placement

    def remove(self, task: str) -> Placement:
        """Gives back what the task held."""
        placement = self.placement(task)
        del self._tasks[task]
        del self._held[placement.node][task]
        if self._columns is not None:
            row = self._columns.row[placement.node]
            if placement.devices:  # another may hold one of them, too, if it was adopted
                self._columns.fill(row, self._nodes[placement.node], self.on(placement.node))
            else:
                self._columns.book(row, placement, +1)
        return placement

    def placement(self, task: str) -> Placement:
        try:
            return self._tasks[task]
        except KeyError:
            raise UnknownTaskError(f"task {task} holds nothing in the pool") from None

    @property
    def placements(self) -> Mapping[str, Placement]:
        return self._tasks

    def on(self, node: str) -> tuple[Placement, ...]:
        """What is held on the node."""
        return tuple(self._held.get(node, {}).values())

    def copy(self) -> "Pool":
        """Another pool of the same nodes and books, to think something through on."""
        other = Pool(self._nodes.values(), mix=self._mix)
        other._held = {node: dict(held) for node, held in self._held.items()}
        other._tasks = dict(self._tasks)
        other.last_node = self.last_node
        return other

    def _placement(self, task: str, demand: Demand, node: str, gpus: tuple[int, ...]) -> Placement:
        self.node(node)
        if task in self._tasks:
            where = self._tasks[task].node
            raise DoesNotFitError(f"task {task} already holds a place on node {where}")
        return placement_of(task, demand, node, gpus)

    def _short(self, wanted: Placement) -> str:
        """What of it is not free; empty: all of it is."""
        columns = self.columns
        row = columns.row[wanted.node]
        room = columns.room(wanted.driver)
        for name, needs, free in (
            ("thousandths of a core", wanted.cpu_milli, room.cpu_free[row]),
            ("bytes of memory", wanted.memory_bytes, room.memory_free[row]),
            ("bytes of disk", wanted.disk_bytes, columns.disk_free[row]),
        ):
            if needs > max(0, free):
                return f"it needs {needs} {name}, {free} are free"
        for index in wanted.gpus:
            if not 0 <= index < len(self._nodes[wanted.node].gpus):
                return f"there is no GPU {index}"
            if columns.gpu_free[row, index] < wanted.gpu_milli:
                return (
                    f"of GPU {index} it needs {wanted.gpu_milli} thousandths, not so many are free"
                )
        missing = wanted.devices - columns.devices_free[row]
        return f"devices {', '.join(sorted(missing))} are not free" if missing else ""

    def _book(self, placement: Placement) -> None:
        self._tasks[placement.task] = placement
        self._held.setdefault(placement.node, {})[placement.task] = placement
        if self._columns is not None:
            self._columns.book(self._columns.row[placement.node], placement, -1)

    def without(self, *tasks: str) -> "Pool":
        """A copy in which these tasks hold nothing."""
        other = self.copy()
        for task in tasks:
            other.remove(task)
        return other

    @contextmanager
    def lifted(self, tasks: Iterable[str]) -> Iterator[None]:
        """Within it these tasks hold nothing here; who holds nothing anyway is left out. Nothing else may be
        booked meanwhile."""
        held = [self.remove(task) for task in dict.fromkeys(tasks) if task in self._tasks]
        try:
            yield
        finally:
            for placement in held:
                self._book(placement)

    def refuse(self, name: str, why: str) -> None:
        """Nothing new to this node ("drained", "silent"); empty: again."""
        self.set_node(replace(self.node(name), refuses=why))
