"""Why a task goes where it goes, and why not elsewhere: a verdict on every node. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from farshore_center.placement.decisions import Figure, Rejection
from farshore_center.placement.filters import FILTERS, count
from farshore_center.placement.judge import Judgement, judge
from farshore_center.placement.model import Demand
from farshore_center.placement.policies import POLICIES, Policy
from farshore_center.placement.pool import Pool
from farshore_center.placement.refusals import refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """On one node. ``rank`` 1 is the choice; None: refused by ``filter``, or not among the sampled.

    ``why``: for a person, with the numbers. ``parts`` and ``mean`` stand also where nothing was sampled.
    """

    node: str
    rank: int | None
    filter: str | None
    why: str
    parts: Mapping[str, float]
    mean: float | None
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Verdicts on all nodes: the candidates by rank, then those not sampled, then those refused."""

    policy: str
    weights: Mapping[str, float]
    rejections: tuple[Rejection, ...]
    verdicts: tuple[Verdict, ...]


def explain(
    pool: Pool,
    demand: Demand,
    policy: Policy = POLICIES["default"],
    sampled: frozenset[str] | None = None,
) -> Explanation:
    """The decision that ``choose`` takes on the same pool, node by node.

    ``sampled`` is what the ``Choice`` of batch work had looked at.
    """
    judged = judge(pool, demand, policy, sampled=sampled)
    order = np.lexsort((np.arange(len(pool)), judged.reason, -judged.mean))
    ranks = iter(range(1, len(pool) + 1))
    return Explanation(
        policy=policy.name,
        weights=judged.weights,
        rejections=count(judged.reason),
        verdicts=tuple(_verdict(pool, demand, judged, int(row), ranks) for row in order),
    )


def _verdict(
    pool: Pool, demand: Demand, judged: Judgement, row: int, ranks: Iterator[int]
) -> Verdict:
    node = pool.columns.names[row]
    figures = judged.cost.figures(row) if judged.cost else ()
    code = int(judged.reason[row])
    if code:
        name = FILTERS[code - 1]
        why = refusal(name, pool.columns, demand, row, judged.cost)
        return Verdict(
            node=node, rank=None, filter=name, why=why, parts={}, mean=None, figures=figures
        )
    parts = {name: float(part[row]) for name, part in judged.parts.items()}
    looked_at = judged.looked_at is None or bool(judged.looked_at[row])
    mean = float(judged.mean[row]) if looked_at else None
    return Verdict(
        node=node,
        rank=next(ranks) if looked_at else None,
        filter=None,
        why=_scores(parts, judged.weights) if looked_at else "not among the candidates drawn",
        parts=parts,
        mean=mean,
        figures=figures,
    )


def _scores(parts: Mapping[str, float], weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f} × {weights[name]:g}" for name, value in parts.items())
