"""What is held on all nodes, as columns, and from them a bound of the harm that room for a task would do.

To think through who gives way on one node takes its time (``preempt.py``). No node does less harm than its
bound says, so most of a thousand nodes need not be thought through. What changed is read anew, row by row.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from farshore_center.placement.columns import Bools, Columns, Floats, Ints
from farshore_center.placement.decisions import Placement
from farshore_center.placement.model import WHOLE, Demand, NodeCapacity

Harm = tuple[int, int, int]
"""The highest priority among those who give way, their number, and which part of their node they hold, in
billionths: what differs by less is alike."""

Amounts = Sequence[Ints]
"""Thousandths of a core, bytes of memory, bytes of disk."""

_BILLION = 10**9
_MOST = 1e6
"""Nodes that have nothing of what is held there."""
_ROUNDING = 1e-12
_NO_GPU = -(10**15)
_NOBODY = np.iinfo(np.int64).max


def part(node: NodeCapacity, held: Placement) -> float:
    """Which part of the node it holds: of its GPUs, its cores and its memory, added up."""
    gpu, cpu, memory = _parts(node, held)
    return gpu + cpu + memory


def _parts(node: NodeCapacity, held: Placement) -> tuple[float, float, float]:
    return (
        held.gpu_milli * len(held.gpus) / max(1, WHOLE * len(node.gpus)),
        held.cpu_milli / max(1, node.cpu_milli),
        held.memory_bytes / max(1, node.memory_bytes),
    )


def harm(node: NodeCapacity, victims: Collection[Placement]) -> Harm:
    """What it does when these give way."""
    parts = sum(part(node, victim) for victim in victims)
    return (
        max((victim.priority for victim in victims), default=0),
        len(victims),
        round(_BILLION * min(parts, _MOST)),
    )


@dataclass(frozen=True, slots=True)
class _Short:
    """What rows lack for a demand. It needs ``gpus``, with ``gpu`` thousandths free on each, of ``gpu_free``;
    those that it may not use have less than nothing."""

    columns: Columns
    rows: Ints
    amounts: Amounts
    gpu: int
    gpus: int
    gpu_free: Ints

    @classmethod
    def of(cls, columns: Columns, rows: Ints, demand: Demand) -> "_Short":
        room = columns.room(demand.driver)
        asked = (demand.cpu_milli, demand.memory_bytes, demand.disk_bytes)
        free = (room.cpu_free, room.memory_free, columns.disk_free)
        cpu, memory, disk = (
            np.maximum(amount - its[rows], 0) if amount else np.zeros(len(rows), np.int64)
            for amount, its in zip(asked, free, strict=True)
        )
        gpu_free: Ints = columns.gpu_free[rows]
        if demand.gpu_models:
            allowed = columns.allowed_models(demand.gpu_models)[columns.gpu_model[rows]]
            gpu_free = np.where(allowed, gpu_free, _NO_GPU)
        return cls(
            columns=columns,
            rows=rows,
            amounts=(cpu, memory, disk),
            gpu=WHOLE if demand.gpus else demand.gpu_milli,
            gpus=demand.gpus or (1 if demand.gpu_milli else 0),
            gpu_free=gpu_free,
        )

    def filled(self, given: Amounts, gpu: Ints) -> Bools:
        """Whether what each slot gives is enough. Devices, and whose cores they are, are left out."""
        enough = np.ones(given[0].shape, np.bool_)
        for lack, amount in zip(self.amounts, given, strict=True):
            enough &= amount >= lack[:, None]
        if self.gpus:
            usable = self.gpu_free[:, None, :] + gpu >= self.gpu
            enough &= np.count_nonzero(usable, axis=2) >= self.gpus
        return enough

    def fewest(self, given: Amounts) -> Ints:
        """How many at least it takes of those who give so much."""
        count = np.zeros(len(self.rows), np.int64)
        for lack, amount in zip(self.amounts, given, strict=True):
            most = -np.sort(-amount, axis=1).cumsum(axis=1)
            its = np.count_nonzero(most < lack[:, None], axis=1) + 1
            count = np.maximum(count, np.where(lack > 0, its, 0))
        if self.gpus:
            lacks = np.count_nonzero(self.gpu_free >= self.gpu, axis=1) < self.gpus
            count = np.maximum(count, lacks)
        return count

    def parts(self, given: Amounts, rest_parts: Floats, gpu: Ints, gpu_parts: Floats) -> Floats:
        """What those who make up for it hold of the node at least, each at the price of the cheapest: for
        the GPUs, and beside them for the dearest of the rest."""
        rest = np.zeros(len(self.rows))
        for lack, amount in zip(self.amounts, given, strict=True):
            rest = np.maximum(rest, _priced(lack, amount, rest_parts))
        if not self.gpus:
            return rest
        lacks = np.maximum(self.gpu - self.gpu_free, 0)
        lack = np.sort(lacks, axis=1)[:, : self.gpus].sum(axis=1)
        return rest + _priced(lack, gpu.sum(axis=2), gpu_parts)


def _priced(lack: Ints, amount: Ints, parts: Floats) -> Floats:
    """What the lack costs at least, of slots that give an amount for a part."""
    price = np.divide(parts, amount, out=np.full(parts.shape, np.inf), where=amount > 0)
    cheapest: Floats = price.min(axis=1)
    cheapest[np.isinf(cheapest)] = 0.0
    return cheapest * lack


class Holders:
    """One row for each node, a slot for each placement on it, the lowest priorities first."""

    def __init__(self, columns: Columns, held: Mapping[str, Mapping[str, Placement]]) -> None:
        self.columns = columns
        self._held = held
        self._at = -1
        self._room_for(1)

    def _room_for(self, width: int) -> None:
        """Slots; all rows are read anew."""
        size = self.columns.size
        self._priority = np.full((size, width), _NOBODY)
        self._part, self._gpu_part, self._rest_part = np.zeros((3, size, width))
        self._amounts = [np.zeros((size, width), np.int64) for _ in range(3)]
        self._gpu = np.zeros((size, width, self.columns.gpu_width), np.int64)
        self._at = -1

    def refresh(self) -> None:
        columns = self.columns
        rows = np.flatnonzero(columns.changed > self._at).tolist()
        its = {row: self._held.get(columns.names[row], {}) for row in rows}
        widest = max((len(held) for held in its.values()), default=0)
        if widest > self._priority.shape[1]:
            self._room_for(widest + widest // 2)
            return self.refresh()
        for row, held in its.items():
            self._fill(row, sorted(held.values(), key=lambda each: each.priority))
        self._at = columns.version
        return None

    def _fill(self, row: int, held: list[Placement]) -> None:
        node, width = self.columns.nodes[row], self._priority.shape[1]
        rest = [0] * (width - len(held))
        self._priority[row] = [each.priority for each in held] + [_NOBODY] * len(rest)
        parts = [_parts(node, each) for each in held]
        self._part[row] = [sum(each) for each in parts] + rest
        self._gpu_part[row] = [gpu for gpu, _, _ in parts] + rest
        self._rest_part[row] = [cpu + memory for _, cpu, memory in parts] + rest
        cpu, memory, disk = self._amounts
        cpu[row] = [each.cpu_milli for each in held] + rest
        memory[row] = [each.memory_bytes for each in held] + rest
        disk[row] = [each.disk_bytes for each in held] + rest
        self._gpu[row] = 0
        for slot, each in enumerate(held):
            for index in each.gpus:
                if index < len(node.gpus):
                    self._gpu[row, slot, index] = each.gpu_milli

    def least(self, rows: Ints, demand: Demand, highest: int) -> Iterator[tuple[Harm, int]]:
        """A bound of the harm, and the row, of each of ``rows`` on which placements of the priority
        ``highest`` or less hold enough; the least first."""
        short = _Short.of(self.columns, rows, demand)
        priority = self._priority[rows]
        each = [amount[rows] for amount in self._amounts]
        gpu = self._gpu[rows]
        summed = [amount.cumsum(axis=1) for amount in each]
        enough = short.filled(summed, gpu.cumsum(axis=1)) & (priority <= highest)
        # Without one of this priority the rest is not enough; one of a higher priority is more harm.
        level = np.take_along_axis(priority, enough.argmax(axis=1)[:, None], axis=1)
        among = priority <= level
        given = [np.where(among, amount, 0) for amount in each]
        count = short.fewest(given)
        alone = among & short.filled(each, gpu)
        count[(count == 1) & ~alone.any(axis=1)] = 2
        may = np.where(count[:, None] == 1, alone, among)
        smallest = np.sort(np.where(may, self._part[rows], _MOST), axis=1).cumsum(axis=1)
        at = np.minimum(np.maximum(count, 1), priority.shape[1])[:, None] - 1
        least = np.maximum(
            np.take_along_axis(smallest, at, axis=1)[:, 0],
            short.parts(
                given,
                self._rest_part[rows],
                np.where(among[:, :, None], gpu, 0),
                self._gpu_part[rows],
            ),
        )
        # The parts of a set are added in another order than here.
        least = np.minimum(least * (1 - _ROUNDING), _MOST)
        billionths = np.rint(_BILLION * least).astype(np.int64)
        bounds = np.stack([level[:, 0], count, billionths, rows])
        bounds[:3, count == 0] = 0
        bounds = bounds[:, enough.any(axis=1)]
        for order in np.lexsort(bounds[::-1]):
            strongest, fewest, held, row = bounds[:, order].tolist()
            yield (strongest, fewest, held), row
