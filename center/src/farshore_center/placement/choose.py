"""The decision: filters, candidates, scores, the best. Pure: changes nothing but the round robin's turn."""

import random

import numpy as np

from farshore_center.placement import filters
from farshore_center.placement.model import Choice, Demand, Unplaceable
from farshore_center.placement.policies import POLICIES, Policy
from farshore_center.placement.pool import Pool

DEFAULT = POLICIES["default"]


def choose(
    pool: Pool,
    demand: Demand,
    policy: Policy = DEFAULT,
    rng: random.Random | None = None,
) -> Choice | Unplaceable:
    """The node for this task; books nothing (``Pool.place`` does).

    ``rng`` samples the candidates of batch work; without one, all are looked at. Of equal nodes the one
    whose name comes first is taken.
    """
    del rng
    view = pool.views.of(demand, policy)
    rejections = filters.count(view.reason)
    if not len(pool) or view.total[row := int(view.total.argmax())] == -np.inf:
        return Unplaceable(nodes=len(pool), rejections=rejections)
    parts = {name: float(column[row]) for name, column in view.parts.items()}
    weight = sum(view.weights.values())
    return Choice(
        node=pool.columns.names[row],
        gpus=view.gpus(row),
        parts=parts,
        weights=view.weights,
        mean=float(view.total[row]) / weight if weight else 0.0,
        candidates=len(pool) - sum(r.nodes for r in rejections),
        rejections=rejections,
    )
