"""The last value of every series of every node, in memory. Pure bookkeeping, no I/O.

A null does not replace a value: the instant that comes with it says how old it is.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from farshore_center.telemetry.samples import Batch, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class LastValue:
    t_ms: int
    value: float


class LatestValues:
    """Fed by accepted batches; after a restart each node is filled once from the store."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, LastValue]] = {}
        self._filled: set[str] = set()

    def note(self, node: str, batch: Batch) -> None:
        newest_first = sorted(range(len(batch.dt_ms)), key=batch.dt_ms.__getitem__, reverse=True)
        for name, values in batch.series.items():
            for row in newest_first:
                value = values[row]
                if value is not None and np.isfinite(value):
                    self._offer(node, name, batch.ts_ms + batch.dt_ms[row], float(value))
                    break

    def fill(self, node: str, stored: Iterable[Samples]) -> None:
        """What the store knows; newer values that were noted meanwhile stay."""
        self._filled.add(node)
        for samples in stored:
            for name, column in samples.columns.items():
                real = np.flatnonzero(np.isfinite(column.values))
                if len(real):
                    t_ms = samples.t_ms[column.present][real[-1]]
                    self._offer(node, name, int(t_ms), float(column.values[real[-1]]))

    def is_filled(self, node: str) -> bool:
        return node in self._filled

    def get(self, node: str) -> dict[str, LastValue]:
        return dict(self._nodes.get(node, {}))

    def forget(self, node: str) -> None:
        self._nodes.pop(node, None)
        self._filled.discard(node)

    def _offer(self, node: str, name: str, t_ms: int, value: float) -> None:
        known = self._nodes.setdefault(node, {})
        before = known.get(name)
        if before is None or t_ms >= before.t_ms:
            # The same few names occur for every node.
            known[sys.intern(name)] = LastValue(t_ms=t_ms, value=value)
