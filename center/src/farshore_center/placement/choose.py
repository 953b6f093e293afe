"""The decision: filters, candidates, scores, the best. Pure: changes nothing, books nothing."""

import random

import numpy as np

from farshore_center.placement import filters
from farshore_center.placement.cost import transfers
from farshore_center.placement.decisions import Choice, Unplaceable
from farshore_center.placement.judge import judge, plain
from farshore_center.placement.model import Demand
from farshore_center.placement.policies import POLICIES, Policy
from farshore_center.placement.pool import Pool

DEFAULT = POLICIES["default"]


def choose(
    pool: Pool,
    demand: Demand,
    policy: Policy = DEFAULT,
    rng: random.Random | None = None,
) -> Choice | Unplaceable:
    """The node for this task, and its GPUs; ``Pool.place`` books them.

    ``rng`` draws the candidates of batch work; without one, all are looked at. Of equal nodes the one
    whose name comes first is taken.
    """
    if not plain(demand, policy):
        return _choose(pool, demand, policy, rng)
    view = pool.views.of(demand, policy)
    rejections = filters.count(view.reason)
    refused = sum(rejection.nodes for rejection in rejections)
    if refused == len(pool):
        return Unplaceable(nodes=refused, rejections=rejections)
    row = int(view.total.argmax())
    return Choice(
        node=pool.columns.names[row],
        gpus=view.gpus(row),
        parts={name: float(part[row]) for name, part in view.parts.items()},
        weights=view.weights,
        mean=float(view.total[row]) / (sum(view.weights.values()) or 1.0),
        candidates=len(pool) - refused,
        rejections=rejections,
    )


def fits(pool: Pool, demand: Demand, node: str, policy: Policy = DEFAULT) -> bool:
    """Whether no filter refuses this node."""
    return node in pool and not judge(pool, demand, policy).reason[pool.columns.row[node]]


def _choose(
    pool: Pool, demand: Demand, policy: Policy, rng: random.Random | None
) -> Choice | Unplaceable:
    judged = judge(pool, demand, policy, rng)
    rejections = filters.count(judged.reason)
    refused = sum(rejection.nodes for rejection in rejections)
    if refused == len(pool):
        return Unplaceable(nodes=refused, rejections=rejections)
    row = int(judged.mean.argmax())
    names = pool.columns.names
    sampled = judged.looked_at
    return Choice(
        node=names[row],
        gpus=judged.view.gpus(row),
        parts={name: float(part[row]) for name, part in judged.parts.items()},
        weights=judged.weights,
        mean=float(judged.mean[row]),
        candidates=len(pool) - refused,
        rejections=rejections,
        sampled=None if sampled is None else frozenset(names[at] for at in np.flatnonzero(sampled)),
        figures=judged.cost.figures(row) if judged.cost else (),
        transfers=transfers(pool.columns, demand, row),
    )
