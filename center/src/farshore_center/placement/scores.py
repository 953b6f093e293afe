"""Scores: each a pure function to 0 to 1 for every row that it is asked about; 1 is best."""

import numpy as np

from farshore_center.placement.columns import Columns, Floats, Ints
from farshore_center.placement.model import WHOLE, Demand

ROW_SCORES = ("fragmentation", "bin_packing", "least_loaded")
"""Those that look at one node alone: kept between decisions."""

ROUNDING = 1e-9
"""So that what is equal but for the last bits of a sum falls on the same step."""


def growth_score(growth: Floats, steps: int) -> Floats:
    """``fragmentation``: 0.5 where it does not grow, nearing 0 as it grows and 1 as it shrinks: a sigmoid
    of whole GPUs, as its authors have it. Rounded down to one of ``steps``, as they do with 100: nodes
    that differ by less are equal (docs/decisions/0022-fragmentation-beside-packing.md)."""
    score: Floats = 1 / (1 + np.exp(np.clip(growth / WHOLE, -50, 50)))
    return np.floor(score * steps + ROUNDING) / steps


def bin_packing(columns: Columns, demand: Demand, rows: Ints) -> Floats:
    """``bin_packing``: little is left beside the task, in cores and GPUs, each as a share of the largest
    node's."""
    left = np.zeros(len(rows))
    kinds = 0
    room = columns.room(demand.driver)
    if room.most_cpu:
        left += np.maximum(room.cpu_free[rows] - demand.cpu_milli, 0) / room.most_cpu
        kinds += 1
    if columns.most_gpu:
        free = np.maximum(columns.gpu_free[rows], 0).sum(axis=1)
        left += np.maximum(free - demand.gpu_total_milli, 0) / columns.most_gpu
        kinds += 1
    return 1 - left / kinds if kinds else np.ones(len(rows))


def least_loaded(columns: Columns, demand: Demand, rows: Ints) -> Floats:
    """``least_loaded``: much of the node's own cores and memory stays free beside the task."""
    room = columns.room(demand.driver)
    cpu = _share(room.cpu_free[rows] - demand.cpu_milli, room.cpu[rows])
    memory = _share(room.memory_free[rows] - demand.memory_bytes, room.memory[rows])
    return (cpu + memory) / 2


def _share(part: Ints, whole: Ints) -> Floats:
    share: Floats = np.clip(part, 0, None) / np.maximum(whole, 1)
    return share
