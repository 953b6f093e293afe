"""How much of the free GPUs the typical tasks could not use: fragmentation, and how it grows. Pure.

The measure is that of "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation
Gradient Descent" (Weng et al., USENIX ATC 2023): with typical tasks t of popularity p(t),

    F(node) = sum over t of p(t) * (free GPU thousandths of the node that t can't use)

A task that does not fit on the node can use nothing of it; one that fits can use every GPU on which as
much is free as it wants of one. A node is good for a task when F grows least by placing it there.

The sum over tasks is done once, in tables: what one GPU with g free thousandths is worth on a node with
so many free cores, and what f wholly free GPUs are worth to tasks that want several. Then F of a node is
one look-up for each of its GPUs, exactly the sum above (a test compares them).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from farshore_center.placement.columns import Bools, Columns, Floats, Ints
from farshore_center.placement.errors import CapacityError
from farshore_center.placement.model import WHOLE, Demand

POPULAR = 0.95
"""The most frequent kinds of task that together are this share of all are the typical ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypicalTask:
    """``share``: its part of all tasks, in 0 to 1."""

    cpu_milli: int = 0
    gpus: int = 0
    gpu_milli: int = 0
    gpu_models: frozenset[str] = frozenset()
    share: float

    @property
    def per_gpu_milli(self) -> int:
        return WHOLE if self.gpus else self.gpu_milli

    @property
    def gpu_count(self) -> int:
        return self.gpus or (1 if self.gpu_milli else 0)


@dataclass(frozen=True, slots=True)
class TaskMix:
    """Typical tasks; their shares add up to 1."""

    tasks: tuple[TypicalTask, ...]

    def __post_init__(self) -> None:
        total = sum(task.share for task in self.tasks)
        if self.tasks and not 0.999 < total < 1.001:
            raise CapacityError(f"the shares of a mix of tasks must add up to 1, not {total:.3f}")

    @classmethod
    def of(cls, demands: Iterable[Demand], popular: float = POPULAR) -> "TaskMix":
        """From the tasks that there were: the most frequent kinds, until ``popular`` of all is reached."""
        kinds = Counter((d.cpu_milli, d.gpus, d.gpu_milli, d.gpu_models) for d in demands)
        total, kept, taken = kinds.total(), [], 0
        for kind, count in sorted(kinds.items(), key=_by_count, reverse=True):
            if taken >= popular * total:
                break
            kept.append((kind, count))
            taken += count
        return cls(
            tuple(
                TypicalTask(
                    cpu_milli=cpu,
                    gpus=gpus,
                    gpu_milli=milli,
                    gpu_models=models,
                    share=count / taken,
                )
                for (cpu, gpus, milli, models), count in kept
            )
        )


def _by_count(item: tuple[tuple[int, int, int, frozenset[str]], int]) -> tuple[object, ...]:
    (cpu, gpus, milli, models), count = item
    return count, cpu, milli, gpus, sorted(models)


EVEN_MIX = TaskMix(
    (
        TypicalTask(cpu_milli=1000, gpu_milli=250, share=0.2),
        TypicalTask(cpu_milli=2000, gpu_milli=500, share=0.2),
        TypicalTask(cpu_milli=4000, gpus=1, share=0.3),
        TypicalTask(cpu_milli=8000, gpus=2, share=0.1),
        TypicalTask(cpu_milli=16000, gpus=4, share=0.1),
        TypicalTask(cpu_milli=32000, gpus=8, share=0.1),
    )
)
"""While nothing is known about the workload."""


class Fragments:
    """The tables of a mix, for the GPU models of these columns."""

    def __init__(self, columns: Columns, mix: TaskMix) -> None:
        self._columns = columns
        tasks = [task for task in mix.tasks if task.gpu_count]
        self._cpu_steps = np.array(sorted({task.cpu_milli for task in tasks}), np.int64)
        single = [task for task in tasks if task.gpu_count == 1]
        several = [task for task in tasks if task.gpu_count > 1]
        self.worth, self._class_offset = self._single(single)
        """By ``at`` + free thousandths of a GPU: what one-GPU tasks can use of it."""
        self._several = [
            (columns.allowed_models(models) if models else None, self._table(several, models))
            for models in sorted({task.gpu_models for task in several}, key=sorted)
        ]

    def step(self, cpu_free: Ints) -> Ints:
        """How many of the typical tasks' amounts of CPU fit: the row of the tables."""
        return self._cpu_steps.searchsorted(cpu_free, "right")

    def at(self, rows: Ints, step: Ints) -> Ints:
        """Where in ``worth`` the entry of a GPU with 0 free begins; shape (rows, GPUs) or (rows, 1)."""
        start = (step * (WHOLE + 1))[:, None]
        return start if self._class_offset is None else start + self._class_offset[rows]

    def several(self, rows: Ints, step: Ints, whole: Bools) -> Floats:
        """What tasks of several GPUs can use of the GPUs that are wholly free (``whole``), by row."""
        total = np.zeros(len(rows))
        for allowed, table in self._several:
            total += table[step, np.count_nonzero(self._allowed(rows, whole, allowed), axis=1)]
        return total

    def several_less_one(self, rows: Ints, step: Ints, whole: Bools) -> Floats:
        """The same for each GPU of each row, as if that one were no longer wholly free."""
        total = np.zeros(whole.shape)
        for allowed, table in self._several:
            usable = self._allowed(rows, whole, allowed)
            total += table[step[:, None], np.count_nonzero(usable, axis=1)[:, None] - usable]
        return total

    def _allowed(self, rows: Ints, whole: Bools, allowed: Bools | None) -> Bools:
        return whole if allowed is None else whole & allowed[self._columns.gpu_model[rows]]

    def usable(self, rows: Ints) -> Floats:
        """Free thousandths of each row that the typical tasks can use, on average over them."""
        free = np.maximum(self._columns.gpu_free[rows], 0)
        step = self.step(self._columns.own.cpu_free[rows])
        found = self.several(rows, step, free == WHOLE)
        found += self.worth[self.at(rows, step) + free].sum(axis=1)
        return found

    def fragmentation(self, rows: Ints) -> Floats:
        """F of each row, in thousandths of a GPU."""
        free = np.maximum(self._columns.gpu_free[rows], 0)
        lost: Floats = free.sum(axis=1) - self.usable(rows)
        return lost

    def _single(self, tasks: Sequence[TypicalTask]) -> tuple[Floats, Ints | None]:
        models = self._columns.models
        alike = {
            model: tuple(not t.gpu_models or model in t.gpu_models for t in tasks)
            for model in models
        }
        classes = list(dict.fromkeys(alike.values())) or [tuple(True for _ in tasks)]
        steps = len(self._cpu_steps) + 1
        table = np.zeros((len(classes), steps, WHOLE + 1))
        free = np.arange(WHOLE + 1)
        for number, takes in enumerate(classes):
            for task, may in zip(tasks, takes, strict=True):
                if may:
                    first = int(self._cpu_steps.searchsorted(task.cpu_milli)) + 1
                    table[number, first:, task.per_gpu_milli :] += task.share
        table *= free
        if len(classes) == 1:
            return table.ravel(), None
        of_code = np.array([*(classes.index(alike[model]) for model in models), 0], np.int64)
        return table.ravel(), of_code[self._columns.gpu_model] * (steps * (WHOLE + 1))

    def _table(self, tasks: Sequence[TypicalTask], models: frozenset[str]) -> Floats:
        width = self._columns.gpu_width
        table = np.zeros((len(self._cpu_steps) + 1, width + 1))
        for task in tasks:
            if task.gpu_models == models and task.gpus <= width:
                first = int(self._cpu_steps.searchsorted(task.cpu_milli)) + 1
                table[first:, task.gpus :] += task.share
        return table * (np.arange(width + 1) * WHOLE)


def fragmentation_by_definition(
    cpu_free: int, gpus: Sequence[tuple[str, int]], mix: TaskMix
) -> float:
    """F of one node, task by task as it is defined. ``gpus``: model and free thousandths of each."""
    total = 0.0
    for task in mix.tasks:
        allowed = [g for model, g in gpus if not task.gpu_models or model in task.gpu_models]
        usable = [g for g in allowed if task.gpu_count and g >= task.per_gpu_milli]
        fits = cpu_free >= task.cpu_milli and len(usable) >= task.gpu_count
        free = sum(g for _, g in gpus)
        total += task.share * (free - (sum(usable) if fits else 0))
    return total
