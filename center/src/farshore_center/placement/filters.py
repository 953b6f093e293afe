"""Which nodes can take a task at all. Each filter has a name; a node counts for the first that refuses.

Filters of ``NODE`` look at one node and at the demand's shape alone, so their outcome is kept from one
decision to the next (``views.py``) and worked out anew for the nodes that changed. The others are of
this one task.
"""

from collections.abc import Iterator

import numpy as np

from farshore_center.placement.columns import Bools, Codes, Columns, Ints
from farshore_center.placement.decisions import Rejection
from farshore_center.placement.model import WHOLE, Demand

FILTERS = (
    *("schedulable", "selector", "side", "driver", "cpu", "memory", "disk"),
    *("gpu_model", "gpu", "devices", "battery", "deadline", "document"),
)
"""In the order in which they refuse."""

CODE = {name: code for code, name in enumerate(FILTERS, start=1)}
"""0 is no refusal."""


def node_filters(columns: Columns, demand: Demand, rows: Ints) -> Iterator[tuple[str, Bools]]:
    """Name and refused rows of each filter that applies, the last first."""
    room = columns.room(demand.driver)
    if not demand.min_battery_pct <= 0:
        yield "battery", columns.battery[rows] < demand.min_battery_pct
    if demand.devices:
        free = columns.devices_free
        yield "devices", np.array([not demand.devices <= free[row] for row in rows], np.bool_)
    if demand.gpus or demand.gpu_milli:
        yield from _gpu_filters(columns, demand, rows)
    if demand.disk_bytes:
        yield "disk", columns.disk_free[rows] < demand.disk_bytes
    if demand.memory_bytes:
        yield "memory", room.memory_free[rows] < demand.memory_bytes
    if demand.cpu_milli:
        yield "cpu", room.cpu_free[rows] < demand.cpu_milli
    yield "driver", ~columns.having("driver", demand.driver)[rows]
    if demand.where is not None:
        yield "side", columns.core[rows] != (demand.where == "core")
    yield "schedulable", ~columns.takes[rows]


def _gpu_filters(columns: Columns, demand: Demand, rows: Ints) -> Iterator[tuple[str, Bools]]:
    enough = columns.gpu_free[rows] >= (WHOLE if demand.gpus else demand.gpu_milli)
    needed = demand.gpus or 1
    if not demand.gpu_models:
        yield "gpu", np.count_nonzero(enough, axis=1) < needed
        return
    allowed = columns.allowed_models(demand.gpu_models)[columns.gpu_model[rows]]
    yield "gpu", np.count_nonzero(enough & allowed, axis=1) < needed
    yield "gpu_model", ~np.any(allowed, axis=1)


def refuse(reason: Codes, refused: Bools, name: str) -> None:
    """Puts a filter among the reasons: after those that come before it, ahead of the others."""
    code = CODE[name]
    reason[refused & ((reason == 0) | (reason > code))] = code


def count(reason: Codes) -> tuple[Rejection, ...]:
    found = np.bincount(reason, minlength=len(FILTERS) + 1).tolist()
    return tuple(
        Rejection(name, nodes) for name, nodes in zip(FILTERS, found[1:], strict=True) if nodes
    )
