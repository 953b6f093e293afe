"""Moves running services to nodes that are clearly better. Pure but for the pool in memory.

What may move, and how often, is decided here; which moves are worth it by ``placement.rebalance``. A move is
a claim at the better node and an orderly end at the other one: the instance never runs twice for it.
"""

from collections.abc import Iterable, Mapping
from random import Random

from farshore_center.placement import POLICIES, Brakes, Demand, Policy, rebalance
from farshore_center.tasks.books import Books
from farshore_center.tasks.claims import Claim, Claims, Victim
from farshore_center.tasks.explaining import policy_of
from farshore_center.tasks.holdings import key_of, label_of
from farshore_center.tasks.records import Granted, Key
from farshore_center.tasks.rounds import Loaded
from farshore_center.tasks.settings import TaskSettings

TURNS = frozenset({"round_robin"})
"""Policies whose score is of the moment and not of the place."""

LOOKED_AT = 200
"""Instances of one round."""


class Balancing:
    def __init__(self, books: Books, claims: Claims, rng: Random, settings: TaskSettings) -> None:
        self._books = books
        self._claims = claims
        self._rng = rng
        self._settings = settings

    def candidates(self) -> list[Key]:
        """Whom this round looks at."""
        keys = sorted({key_of(label) for label in self._books.pool.placements})
        return keys if len(keys) <= LOOKED_AT else self._rng.sample(keys, LOOKED_AT)

    def moves(self, loaded: Loaded, drained: Iterable[str], now_ms: int) -> list[Key]:
        """Claims the better places, and gives the instances that are to move there."""
        closed = frozenset(drained)
        movable: dict[str, dict[str, Demand]] = {}
        grants: dict[str, Granted] = {}
        for key, instance in loaded.instances.items():
            task, grant = loaded.tasks[key[0]], loaded.grants.get(key, {}).get(instance.epoch)
            if (
                grant is None
                or task.spec.kind != "service"
                or task.spec.policy in TURNS
                or not task.wants(instance.instance)
                or not _settled(grant, instance.run, closed)
                or self._claims.of(key) is not None
                or self._claims.push_on(key, grant.epoch) is not None
            ):
                continue
            label = label_of(grant)
            grants[label] = grant
            demand = self._books.demand(task, instance, now_ms, loaded.runs.get(task.name, {}))
            movable.setdefault(policy_of(task.spec).name, {})[label] = demand
        moved: list[Key] = []
        for name, demands in movable.items():
            moved += self._of_policy(POLICIES[name], demands, grants, now_ms)
        return moved

    def _of_policy(
        self,
        policy: Policy,
        demands: Mapping[str, Demand],
        grants: Mapping[str, Granted],
        now_ms: int,
    ) -> list[Key]:
        settings = self._settings
        brakes = Brakes(
            min_gain=settings.rebalance_gain,
            cooldown_s=settings.rebalance_rest_s,
            moves=max(0, settings.rebalance_moves - self._claims.moving()),
        )
        rested = {label: (now_ms - grants[label].granted_ms) / 1000 for label in demands}
        found = rebalance(self._books.pool, demands, policy, moved_s_ago=rested, brakes=brakes)
        moved = []
        for move in found:
            grant, demand = grants[move.task], demands[move.task]
            claim = Claim(
                key=grant.of,
                node=move.choice.node,
                gpus=move.choice.gpus,
                why="moved",
                priority=demand.priority,
                victims=(Victim(*grant.key, demand.priority),),
                source=move.source,
                gain=move.gain,
            )
            self._claims.make(claim, demand)
            moved.append(grant.of)
        return moved


def _settled(grant: Granted, run: int, closed: frozenset[str]) -> bool:
    """It runs, as it should, where it may stay."""
    return (
        grant.state == "running"
        and grant.want == "run"
        and grant.run == run
        and grant.healthy is not False
        and grant.node not in closed
    )
