"""What is known of every node for one shape of demand under one policy, kept between decisions.

Thousands of decisions a second over more than a thousand nodes come from this: a placement changes one
node, so of what was worked out for a shape of demand, one row is stale. A view works out the rows that
changed since it was last asked, all of them at once, and keeps the rest. Nothing here is told of changes;
it asks ``Columns`` which rows are newer.
"""

import numpy as np

from farshore_center.placement.columns import Codes, Columns, Floats, Ints
from farshore_center.placement.fgd import Fragments, TaskMix
from farshore_center.placement.filters import CODE, node_filters
from farshore_center.placement.model import WHOLE, Demand, Shape
from farshore_center.placement.policies import Policy
from farshore_center.placement.scores import ROW_SCORES, bin_packing, growth_score, least_loaded

KEPT = 256
"""Views, of some tens of bytes a node; the one that was asked for longest ago goes first."""


class Views:
    """All views of these columns."""

    def __init__(self, columns: Columns, mix: TaskMix) -> None:
        self.columns = columns
        self.fragments = Fragments(columns, mix)
        self._kept: dict[tuple[Shape, tuple[object, ...]], View] = {}
        self._usable = np.zeros(columns.size)
        self._usable_at = -1

    def of(self, demand: Demand, policy: Policy) -> "View":
        """Up to date with every row."""
        key = (demand.shape, policy.key)
        view = self._kept.pop(key, None) or View(self, demand, policy)
        if len(self._kept) >= KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[key] = view
        view.refresh()
        return view

    def usable(self) -> Floats:
        """Free GPU thousandths of each row that the typical tasks can use."""
        columns = self.columns
        rows = np.flatnonzero(columns.changed > self._usable_at)
        if len(rows):
            self._usable[rows] = self.fragments.usable(rows)
            self._usable_at = columns.version
        return self._usable


class View:
    """``reason``: code of the filter that refuses the row, 0: none. ``gpu``: which GPU a share goes to.
    ``parts``: the policy's scores that look at one node alone (fragmentation only where there are GPUs).
    ``total``: their weighted sum, minus infinity where the row is refused."""

    def __init__(self, views: Views, demand: Demand, policy: Policy) -> None:
        size = views.columns.size
        self._views, self._demand, self._policy = views, demand, policy
        self._gpus = views.columns.most_gpu > 0
        self.weights = {
            name: weight
            for name, weight in policy.weights.items()
            if name in ROW_SCORES and weight and (self._gpus or name != "fragmentation")
        }
        self.reason: Codes = np.zeros(size, np.int8)
        self.gpu: Codes = np.zeros(size, np.int16)
        self.parts = {name: np.zeros(size) for name in self.weights}
        self.total = np.zeros(size)
        self._at = -1

    def refresh(self) -> None:
        columns = self._views.columns
        if self._at == columns.version:
            return
        rows = np.flatnonzero(columns.changed > self._at)
        self._at = columns.version
        reason = np.zeros(len(rows), np.int8)
        for name, refused in node_filters(columns, self._demand, rows):
            reason[refused] = CODE[name]
        self.reason[rows] = reason
        self._score(rows)
        self.total[rows[reason > 0]] = -np.inf

    def gpus(self, row: int) -> tuple[int, ...]:
        """The GPUs of the row that the task gets."""
        demand = self._demand
        if demand.gpu_milli:
            return (int(self.gpu[row]),)
        if not demand.gpus:
            return ()
        columns = self._views.columns
        whole = columns.gpu_free[row] == WHOLE
        if demand.gpu_models:
            whole &= columns.allowed_models(demand.gpu_models)[columns.gpu_model[row]]
        return tuple(np.flatnonzero(whole)[: demand.gpus].tolist())

    def _score(self, rows: Ints) -> None:
        columns, demand = self._views.columns, self._demand
        if "fragmentation" in self.weights or (self._gpus and self._policy.gpu == "fragmentation"):
            growth = self._growth(rows)
            if "fragmentation" in self.weights:
                self.parts["fragmentation"][rows] = growth_score(growth, self._policy.steps)
        if demand.gpu_milli and self._policy.gpu == "tightest":
            free = self._usable_gpus(rows)
            self.gpu[rows] = np.where(free >= demand.gpu_milli, free, 2 * WHOLE).argmin(axis=1)
        if "bin_packing" in self.weights:
            self.parts["bin_packing"][rows] = bin_packing(columns, demand, rows)
        if "least_loaded" in self.weights:
            self.parts["least_loaded"][rows] = least_loaded(columns, demand, rows)
        total = np.zeros(len(rows))
        for name, weight in self.weights.items():
            total += weight * self.parts[name][rows]
        self.total[rows] = total

    def _usable_gpus(self, rows: Ints) -> Ints:
        """Free thousandths of each GPU that the task may use; others have none."""
        columns, models = self._views.columns, self._demand.gpu_models
        free: Ints = columns.gpu_free[rows]
        if models:
            free = np.where(columns.allowed_models(models)[columns.gpu_model[rows]], free, 0)
        return free

    def _growth(self, rows: Ints) -> Floats:
        """By how much fragmentation grows with the task on each row; notes the best GPU for a share.

        F is free minus usable, and the task takes what it takes of what is free: so F grows by what
        gets lost of the usable, less what the task takes.
        """
        columns, demand, fragments = self._views.columns, self._demand, self._views.fragments
        growth = self._views.usable()[rows]
        apart = columns.room(demand.driver).apart[rows]  # whose cores are not beside the GPUs
        step = fragments.step(columns.own.cpu_free[rows] - np.where(apart, 0, demand.cpu_milli))
        free = np.maximum(columns.gpu_free[rows], 0)
        at = fragments.at(rows, step)
        each = fragments.worth[at + free]
        whole = free == WHOLE
        if demand.gpu_milli:
            after = each.sum(axis=1)[:, None] - each
            after += fragments.worth[at + np.maximum(free - demand.gpu_milli, 0)]
            after += fragments.several_less_one(rows, step, whole)
            after[self._usable_gpus(rows) < demand.gpu_milli] = -np.inf
            best = after.argmax(axis=1)
            self.gpu[rows] = best
            growth -= after[np.arange(len(rows)), best] + demand.gpu_milli
            return growth
        if demand.gpus:
            allowed = self._usable_gpus(rows) == WHOLE
            taken = allowed & (allowed.cumsum(axis=1) <= demand.gpus)
            each[taken] = 0
            whole &= ~taken
        growth -= each.sum(axis=1) + fragments.several(rows, step, whole)
        growth -= demand.gpus * WHOLE
        return growth
