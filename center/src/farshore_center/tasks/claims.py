"""Places that are kept: for an instance that has others pushed out, and for one that is moved. Pure.

A claim is booked in the pool as a grant would be, so nobody else takes what becomes free; it is given up
when its instance finds a place, or does not want one any more. One that pushes others out stands in the
decision of its instance, so that a center that begins takes it up again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import orjson

from farshore_center.placement import Demand, Pool
from farshore_center.tasks.records import GrantKey, Key

NAMED = 3
"""Victims that are named to people; the others are counted."""

Why = Literal["preempted", "moved"]


class Victim(NamedTuple):
    """A grant that is to end. ``priority``: of its task."""

    task: str
    instance: int
    epoch: int
    priority: int

    @property
    def key(self) -> Key:
        return self.task, self.instance

    @property
    def grant(self) -> GrantKey:
        return self.task, self.instance, self.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Why a grant is to end. ``state``: of the line of history; ``document``: the decision, JSON text."""

    epoch: int
    why: Why
    state: str
    reason: str
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """``priority``: of its instance's task; ``gain``: of a move, ``source``: from where."""

    key: Key
    node: str
    gpus: tuple[int, ...]
    why: Why
    priority: int
    victims: tuple[Victim, ...]
    source: str = ""
    gain: float = 0.0

    @property
    def text(self) -> str:
        """What its instance waits for."""
        named = ", ".join(
            f"{each.task}/{each.instance} (priority {each.priority})"
            for each in self.victims[:NAMED]
        )
        more = len(self.victims) - NAMED
        others = f" and {more} more" if more > 0 else ""
        return f"{named}{others} must give way on {self.node} first"

    def document(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "gpus": list(self.gpus),
            "priority": self.priority,
            "victims": [list(each) for each in self.victims],
        }

    def push(self, victim: Victim) -> Push:
        of = f"{self.key[0]}/{self.key[1]}"
        if self.why == "moved":
            reason = (
                f"it is better off on {self.node}: its score is higher by {self.gain:.2f} there"
            )
            told: dict[str, Any] = {
                "decision": "rebalanced",
                "from": self.source,
                "to": self.node,
                "gain": round(self.gain, 4),
            }
        else:
            reason = (
                f"{of} (priority {self.priority}) needs its place; its own is {victim.priority}"
            )
            told = {
                "decision": "preempted",
                "from": self.node,
                "by": {"task": self.key[0], "instance": self.key[1], "priority": self.priority},
                "priority": victim.priority,
            }
        return Push(
            epoch=victim.epoch,
            why=self.why,
            state="rebalanced" if self.why == "moved" else "preempted",
            reason=reason,
            document=orjson.dumps({**told, "reason": reason}).decode(),
        )


def stored_claim(key: Key, decision: str | None) -> Claim | None:
    """The claim of an instance's decision as it is in the database; None: it has none."""
    found = {} if decision is None else orjson.loads(decision).get("claim")
    if not isinstance(found, Mapping) or not found:
        return None
    return Claim(
        key=key,
        node=found["node"],
        gpus=tuple(found["gpus"]),
        why="preempted",
        priority=found["priority"],
        victims=tuple(Victim(*each) for each in found["victims"]),
    )


def gave_way(decision: str | None) -> Mapping[str, Any] | None:
    """The note that an instance was pushed out or moved, until it has a place again."""
    stored = {} if decision is None else orjson.loads(decision)
    if stored.get("decision") in ("preempted", "rebalanced"):
        return {name: value for name, value in stored.items() if name != "gave_way"}
    note = None if "node" in stored else stored.get("gave_way")
    return note if isinstance(note, Mapping) else None


def label_of(key: Key) -> str:
    """In the pool; a grant's ends with its epoch, which is never 0."""
    return f"{key[0]}/{key[1]}/0"


class Claims:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._claims: dict[Key, Claim] = {}
        self._pushes: dict[GrantKey, Push] = {}

    def of(self, key: Key) -> Claim | None:
        return self._claims.get(key)

    def moving(self) -> int:
        """Moves that are under way."""
        return sum(claim.why == "moved" for claim in self._claims.values())

    def make(self, claim: Claim, demand: Demand) -> None:
        """Nobody else gets that place from now on."""
        self.release(claim.key)
        if claim.node not in self._pool:
            return
        self._pool.adopt(label_of(claim.key), demand, claim.node, claim.gpus)
        self._claims[claim.key] = claim
        for victim in claim.victims:
            self._pushes[victim.grant] = claim.push(victim)

    def release(self, key: Key) -> Claim | None:
        """Its place is anybody's again, and nobody has to give way for it any more."""
        claim = self._claims.pop(key, None)
        if claim is None:
            return None
        if label_of(key) in self._pool.placements:
            self._pool.remove(label_of(key))
        for victim in claim.victims:
            self._pushes.pop(victim.grant, None)
        return claim

    def push_on(self, key: Key, epoch: int) -> Push | None:
        """Why this grant is to end."""
        return self._pushes.get((*key, epoch))
