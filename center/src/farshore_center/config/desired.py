"""Goals become rows, inside the transaction that decides them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from farshore_center.config import node_store
from farshore_center.config.engine import EMPTY_DIGEST, NodeConfig, Wanted, desire, refuse
from farshore_center.config.fleet import Place
from farshore_center.config.plan import Goal, Plan
from farshore_center.config.schema import Violation
from farshore_center.events.model import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """``pending``: the nodes that are to be sent something; ``invalid``: those newly refused."""

    pending: tuple[str, ...]
    invalid: tuple[str, ...]
    drafts: tuple[Draft, ...]


def apply(conn: Connection, plan: Plan, now_ms: int) -> Applied:
    """Writes what changes: rows, bodies, and what is no longer needed."""
    before = node_store.load(conn, [goal.place.node for goal in plan.goals])
    changed: list[NodeConfig] = []
    pending, invalid, left = [], [], []
    drafts: list[Draft] = []
    for goal in plan.goals:
        row = before.get(goal.place.node)
        after = _after(row, goal, now_ms)
        if after is None or after is row:
            continue
        changed.append(after)
        if after.problem is not None:
            invalid.append(after.node)
            data = problem(goal.violations)
            drafts.append(Draft(kind="config.invalid", node=after.node, data=data, at_ms=now_ms))
        elif row is None or after.rev != row.rev:
            pending.append(after.node)
            if row is not None and row.digest not in (None, after.digest):
                left.append(row.digest)
    node_store.add_bodies(conn, _bodies(plan, changed))
    node_store.save(conn, changed)
    node_store.drop_bodies(conn, [digest for digest in left if digest is not None])
    return Applied(pending=tuple(pending), invalid=tuple(invalid), drafts=tuple(drafts))


def _after(row: NodeConfig | None, goal: Goal, now_ms: int) -> NodeConfig | None:
    place = goal.place
    if row is None:
        if goal.digest == EMPTY_DIGEST and not place.given and not goal.violations:
            return None  # nothing is configured, and the node knows its place itself
        row = new_row(place, now_ms)
    if goal.violations:
        return refuse(row, problem(goal.violations), now_ms)
    wanted = Wanted(digest=goal.digest, group=place.group, labels=place.labels)
    return desire(row, wanted, now_ms)


def new_row(place: Place, now_ms: int) -> NodeConfig:
    return NodeConfig(
        node=place.node, group=place.group, labels=dict(place.labels), changed_ms=now_ms
    )


def problem(violations: Sequence[Violation]) -> dict[str, Any]:
    """As ``error`` in what the center says of a node: shaped like a node's own."""
    first = violations[0]
    return {
        "stage": "center",
        "code": "invalid",
        "path": first.path,
        "message": first.message,
        "violations": [asdict(each) for each in violations[:20]],
    }


def _bodies(plan: Plan, changed: Sequence[NodeConfig]) -> list[Any]:
    used = {row.digest for row in changed}
    return [each for digest, each in plan.bodies.items() if digest in used]
