"""A decision on a place as it is stored for people, and verdicts on nodes. Pure."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from farshore_protocol.tasks import TaskSpec

from farshore_center.placement import (
    POLICIES,
    Choice,
    Demand,
    Explanation,
    NodeCapacity,
    Policy,
    Pool,
    Unplaceable,
    explain,
)
from farshore_center.tasks.estimates import links_told

EXPLAINED_AT_ONCE = 64
"""In a pool of so many nodes every decision is stored with its verdict on each."""
CANDIDATES = 50


def explained(
    pool: Pool, choice: Choice | Unplaceable, demand: Demand, policy: Policy
) -> dict[str, Any]:
    """A decision as it is stored; in a small pool with the verdict on each node."""
    document: dict[str, Any] = {
        "policy": policy.name,
        "rejected": {each.filter: each.nodes for each in choice.rejections},
    }
    if isinstance(choice, Choice):
        document |= {
            "node": choice.node,
            "gpus": list(choice.gpus),
            "score": round(choice.mean, 4),
            "scores": {name: round(part, 4) for name, part in choice.parts.items()},
            "weights": dict(choice.weights),
            "estimate": [asdict(figure) for figure in choice.figures],
        }
        if choice.transfers:
            document["transfers"] = [list(each) for each in choice.transfers]
        if choice.figures:
            document["links"] = links_told(_concerned(pool, choice.node, demand))
    if len(pool) <= EXPLAINED_AT_ONCE:
        sampled = choice.sampled if isinstance(choice, Choice) else None
        verdicts = explain(pool, demand, policy, sampled)
        document["candidates"] = candidates_of(verdicts)
    return document


def unchosen(document: Mapping[str, Any]) -> dict[str, Any]:
    """The decision as it is stored, without the node that could have had it."""
    of_node = ("node", "gpus", "score", "scores", "weights", "estimate", "transfers", "links")
    return {name: value for name, value in document.items() if name not in of_node}


def _concerned(pool: Pool, node: str, demand: Demand) -> list[NodeCapacity]:
    """The node and those that hold the task's data, whose links count."""
    holders = (data.node for data in (*demand.reads, *demand.writes))
    names = dict.fromkeys((node, *holders))
    return [pool.node(name) for name in names if name in pool]


def policy_of(spec: TaskSpec) -> Policy:
    return POLICIES.get(spec.policy or "default", POLICIES["default"])


def candidates_of(found: Explanation) -> list[dict[str, Any]]:
    """Each node with its score and the parts of that, or why not; the best first."""
    return [
        {
            "node": each.node,
            "score": None if each.mean is None else round(each.mean, 4),
            "parts": {name: round(part, 4) for name, part in each.parts.items()},
            "filter": each.filter,
            "why": each.why,
            "estimate": [asdict(figure) for figure in each.figures],
        }
        for each in found.verdicts[:CANDIDATES]
    ]
