"""Filters and scores of one task over all nodes: what ``choose`` and ``explain`` both read. Pure."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from farshore_center.placement import filters
from farshore_center.placement.columns import Bools, Codes, Columns, Floats
from farshore_center.placement.cost import Cost, here
from farshore_center.placement.model import Demand
from farshore_center.placement.policies import SAMPLE, Policy
from farshore_center.placement.pool import Pool
from farshore_center.placement.task_scores import TASK_SCORES, Situation
from farshore_center.placement.views import View


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of each row: ``reason`` (0: passed), ``mean`` (minus infinity where refused or not looked at).

    ``looked_at``: None if every row that passed. ``cost``: None if nothing of it counts for the task.
    """

    view: View
    reason: Codes
    mean: Floats
    parts: Mapping[str, Floats]
    weights: Mapping[str, float]
    looked_at: Bools | None
    cost: Cost | None


def judge(
    pool: Pool,
    demand: Demand,
    policy: Policy,
    rng: random.Random | None = None,
    sampled: frozenset[str] | None = None,
) -> Judgement:
    """``sampled`` names the nodes to look at, as an earlier decision did; ``rng`` draws them."""
    columns, view = pool.columns, pool.views.of(demand, policy)
    reason, situation = _refusals(columns, demand, view, pool.last_node)
    passed = situation.passed
    looked_at = None
    if sampled is not None:
        looked_at = columns.mask(sampled)
    elif demand.batch and rng is not None:
        looked_at = _sample(columns, demand, passed, rng)
    parts, weights = dict(view.parts), dict(view.weights)
    total = np.where(passed, view.total, -np.inf)
    for name, weight in policy.weights.items():
        score = TASK_SCORES[name](situation) if weight and name in TASK_SCORES else None
        if score is not None:
            parts[name], weights[name] = score, weight
            total += weight * score
    if looked_at is not None:
        total[~looked_at] = -np.inf
    told = demand.timed or demand.deadline_s is not None
    return Judgement(
        view=view,
        reason=reason,
        mean=total / (sum(weights.values()) or 1.0),
        parts=parts,
        weights=weights,
        looked_at=looked_at,
        cost=situation.cost if told else None,
    )


def hosts(pool: Pool, demand: Demand, policy: Policy) -> Bools:
    """Rows that would take the task if it needed nothing: if they refuse it, they lack room alone."""
    bare = replace(
        demand,
        cpu_milli=0,
        memory_bytes=0,
        disk_bytes=0,
        gpus=0,
        gpu_milli=0,
        devices=frozenset(),
    )
    passed: Bools = judge(pool, bare, policy).reason == 0
    return passed


def _refusals(
    columns: Columns, demand: Demand, view: View, last_node: str
) -> tuple[Codes, Situation]:
    """The reasons with those filters that are of this one task."""
    reason = view.reason.copy()
    if demand.eligible is not None:
        filters.refuse(reason, ~columns.mask(demand.eligible), "selector")
    for group in demand.over_quota:
        filters.refuse(reason, columns.having("group", group), "quota")
    if demand.over_document:
        filters.refuse(reason, columns.mask(demand.over_document), "document")
    situation = Situation(columns, demand, last_node, reason == 0)
    if demand.deadline_s is not None:
        filters.refuse(reason, situation.cost.p95_s > demand.deadline_s, "deadline")
        situation.passed = reason == 0
    return reason, situation


def _sample(columns: Columns, demand: Demand, passed: Bools, rng: random.Random) -> Bools | None:
    """Half a sample each of the nodes with its data or that it likes, of the core's and of the edge's."""
    if np.count_nonzero(passed) <= SAMPLE:
        return None
    liked = np.zeros(columns.size, np.bool_)
    for data in (*demand.reads, *demand.writes):
        liked |= here(columns, data)
    for like in demand.affinities:
        if like.weight > 0:
            liked |= columns.mask(like.nodes)
    looked_at = np.zeros(columns.size, np.bool_)
    for stratum in (liked, columns.core & ~liked, ~columns.core & ~liked):
        rows = np.flatnonzero(stratum & passed)
        drawn = rng.sample(range(len(rows)), min(SAMPLE // 2, len(rows)))
        looked_at[rows[drawn]] = True
    return looked_at


def plain(demand: Demand, policy: Policy) -> bool:
    """Whether the view alone decides: nothing that is of this one task counts."""
    return demand.plain and "round_robin" not in policy.weights
