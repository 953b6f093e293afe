"""The last value of every series of every node, in memory. Pure bookkeeping, no I/O.

A null does not replace a value: the instant that comes with it says how old it is.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from farshore_center.telemetry.samples import Batch, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class LastValue:
    t_ms: int
    value: float


def last_of_batch(batch: Batch) -> Iterator[tuple[str, LastValue]]:
    """Without numpy: a batch has few instants of many series."""
    newest_first = sorted(range(len(batch.dt_ms)), key=batch.dt_ms.__getitem__, reverse=True)
    for name, values in batch.series.items():
        for row in newest_first:
            value = values[row]
            if value is not None and math.isfinite(value):
                yield name, LastValue(t_ms=batch.ts_ms + batch.dt_ms[row], value=float(value))
                break


def last_of_samples(samples: Samples) -> Iterator[tuple[str, LastValue]]:
    for name, column in samples.columns.items():
        real = np.flatnonzero(np.isfinite(column.values))
        if len(real):
            t_ms = samples.t_ms[column.present][real[-1]]
            yield name, LastValue(t_ms=int(t_ms), value=float(column.values[real[-1]]))


def offer(known: dict[str, LastValue], offered: Iterable[tuple[str, LastValue]]) -> None:
    """Of each series the latest stays; of two of one instant, the one that came last."""
    for name, last in offered:
        before = known.get(name)
        if before is None or last.t_ms >= before.t_ms:
            # The same few names occur for every node.
            known[sys.intern(name)] = last


class LatestValues:
    """Fed by accepted batches; after a restart each node is filled once from the store."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, LastValue]] = {}
        self._filled: set[str] = set()

    def note(self, node: str, batch: Batch) -> None:
        offer(self._nodes.setdefault(node, {}), last_of_batch(batch))

    def fill(self, node: str, stored: Mapping[str, LastValue]) -> None:
        """What the store knows; newer values that were noted meanwhile stay."""
        self._filled.add(node)
        offer(self._nodes.setdefault(node, {}), stored.items())

    def is_filled(self, node: str) -> bool:
        return node in self._filled

    def get(self, node: str) -> dict[str, LastValue]:
        return dict(self._nodes.get(node, {}))

    def forget(self, node: str) -> None:
        self._nodes.pop(node, None)
        self._filled.discard(node)
