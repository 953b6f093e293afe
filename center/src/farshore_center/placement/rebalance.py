"""Moves that are worth it: of tasks that run, to nodes that are clearly better. Pure; nothing is moved here.

Three brakes keep it from moving for small gains and from moving back and forth: a move must raise the
task's mean score by ``min_gain`` (hysteresis), a task that was moved rests for ``cooldown_s``, and a round
has a budget of moves. Each move is reckoned on the pool as the moves before it leave it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from farshore_center.placement.choose import DEFAULT, choose
from farshore_center.placement.decisions import Choice, Unplaceable
from farshore_center.placement.errors import PlacementError
from farshore_center.placement.judge import judge
from farshore_center.placement.model import Demand
from farshore_center.placement.policies import Policy
from farshore_center.placement.pool import Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Brakes:
    """``min_gain``: of the mean score, which is in 0 to 1. ``moves``: at most so many in a round."""

    min_gain: float = 0.1
    cooldown_s: float = 600.0
    moves: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.min_gain <= 1:
            raise PlacementError(f"min_gain must be above 0 and at most 1, not {self.min_gain}")
        if not (self.cooldown_s >= 0 and self.moves >= 0):
            raise PlacementError("cooldown_s and moves must be 0 or more")


BRAKES = Brakes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """``gain``: how much the task's mean score rises."""

    task: str
    source: str
    choice: Choice
    gain: float


def rebalance(
    pool: Pool,
    movable: Mapping[str, Demand],
    policy: Policy = DEFAULT,
    *,
    moved_s_ago: Mapping[str, float] | None = None,
    brakes: Brakes = BRAKES,
) -> tuple[Move, ...]:
    """The moves of one round, the greatest gain first; the pool stays as it is.

    ``movable``: running tasks that may be moved, with what they need. ``moved_s_ago``: seconds since a
    task was moved last, where it was.
    """
    rested = moved_s_ago or {}
    waiting = {
        task: demand
        for task, demand in movable.items()
        if task in pool.placements and rested.get(task, brakes.cooldown_s) >= brakes.cooldown_s
    }
    after = pool.copy()
    moves: list[Move] = []
    known = {task: _move(after, task, demand, policy) for task, demand in waiting.items()}
    fresh = set(known)
    while known and len(moves) < brakes.moves:
        task = max(known, key=lambda its: (_gain(known[its]), its))
        best = known[task]
        if best is None or best.gain < brakes.min_gain:
            break
        if task not in fresh:  # what is known of it may be old by the moves since
            known[task] = _move(after, task, waiting[task], policy)
            fresh.add(task)
            continue
        del known[task]
        after.remove(task)
        after.place(task, waiting[task], best.choice.node, best.choice.gpus)
        moves.append(best)
        fresh.clear()
    return tuple(moves)


def _gain(move: Move | None) -> float:
    return move.gain if move else 0.0


def _move(pool: Pool, task: str, demand: Demand, policy: Policy) -> Move | None:
    """The best that could be done with the task. None where that is to stay, or where its node would
    not take it any more: to bring it away from there is not a question of balance."""
    held = pool.remove(task)
    mean = judge(pool, demand, policy).mean
    choice = choose(pool, demand, policy)
    pool.adopt(task, demand, held.node, held.gpus)
    now = float(mean[pool.columns.row[held.node]])
    if isinstance(choice, Unplaceable) or now < 0 or choice.node == held.node:
        return None
    return Move(task=task, source=held.node, choice=choice, gain=choice.mean - now)
