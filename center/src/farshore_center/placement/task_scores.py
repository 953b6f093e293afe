"""Scores of one task: each a pure function to 0 to 1 for every row, or None if it says nothing of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from farshore_center.placement.columns import Bools, Columns, Floats
from farshore_center.placement.cost import Cost, here, reckon
from farshore_center.placement.model import Demand


@dataclass(slots=True)
class Situation:
    """What the scores of one task look at. ``passed``: rows that no filter has refused (so far)."""

    columns: Columns
    demand: Demand
    last_node: str
    passed: Bools
    _cost: Cost | None = None

    @property
    def cost(self) -> Cost:
        """Reckoned once, and only if something asks for it."""
        if self._cost is None:
            self._cost = reckon(self.columns, self.demand)
        return self._cost


def affinity(situation: Situation) -> Floats | None:
    """``affinity``: likes that are met and dislikes that are avoided, by their weights."""
    likes = [like for like in situation.demand.affinities if like.weight]
    if not likes:
        return None
    met = np.zeros(situation.columns.size)
    for like in likes:
        inside = situation.columns.mask(like.nodes)
        met += abs(like.weight) * (inside if like.weight > 0 else ~inside)
    return met / sum(abs(like.weight) for like in likes)


def spread(situation: Situation) -> Floats | None:
    """``spread``: 1 where no copy runs on such a node, group or label yet, 1/2 with one, 1/3 with two."""
    columns, demand = situation.columns, situation.demand
    rows = [columns.row[node] for node in demand.peers if node in columns.row]
    weight = sum(by.weight for by in demand.spread)
    if not rows or weight <= 0:
        return None
    score = np.zeros(columns.size)
    for by in demand.spread:
        codes = columns.codes(by.by, by.depth)
        copies = np.bincount(codes[rows], minlength=int(codes.max()) + 1)
        score += by.weight / (1 + copies[codes])
    return score / weight


def data_locality(situation: Situation) -> Floats | None:
    """``data_locality``: which part of the bytes that it reads and writes is at the node already."""
    demand = situation.demand
    data = [its for its in (*demand.reads, *demand.writes) if its.size_bytes]
    if not data:
        return None
    local = np.zeros(situation.columns.size)
    for its in data:
        local += its.size_bytes * here(situation.columns, its)
    return local / sum(its.size_bytes for its in data)


def completion(situation: Situation) -> Floats | None:
    """``completion``: the earliest expected completion of all candidates, divided by the node's."""
    demand = situation.demand
    if not demand.timed:
        return None
    return _least_to(situation.cost.completion_s, situation.passed)


def money(situation: Situation) -> Floats | None:
    """``money``: the lowest cost of all candidates, divided by the node's."""
    demand, columns = situation.demand, situation.columns
    if not (demand.reads or demand.writes or columns.core_cost.any()):
        return None
    cost = situation.cost.money
    return _least_to(cost, situation.passed) if cost.any() else None


def round_robin(situation: Situation) -> Floats | None:
    """``round_robin``: 1 for the node after the last one that got a task, then ever less, by name."""
    size = situation.columns.size
    after = int(np.searchsorted(np.array(situation.columns.names), situation.last_node, "right"))
    return 1 - ((np.arange(size) - after) % size) / size


TASK_SCORES: Mapping[str, Callable[[Situation], Floats | None]] = {
    "affinity": affinity,
    "spread": spread,
    "data_locality": data_locality,
    "completion": completion,
    "money": money,
    "round_robin": round_robin,
}


def _least_to(values: Floats, passed: Bools) -> Floats:
    """The least of those passed, divided by the value: 1 for the least. (Of others it means nothing.)"""
    least = float(values[passed].min(initial=np.inf))
    if not least or least == np.inf:
        return np.asarray(values <= 0, np.float64)
    return least / np.maximum(values, least)
