"""Batches that had better wait for a node that is full now: who waits for which, and what is told. Pure.

Nothing is kept for them: when something becomes free they are looked at before others, the highest priority
first and then who waits longest. Who waits already is reckoned to hold the place before those who come later.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from farshore_center.placement import (
    Demand,
    End,
    Held,
    Origin,
    Placement,
    Policy,
    Wait,
    placement_of,
    room_to_wait_for,
)
from farshore_center.tasks.holdings import Holdings
from farshore_center.tasks.records import Instance, Key

SAME_S = 5.0
SAME_PART = 0.2
"""A moment that moved by less than this part of the wait, or so many seconds, is told as it was."""

Rank = tuple[int, int, Key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Of an instance that waits for ``node``. ``rank``: the lower is before the higher. ``done_ms``: when it
    would be done; None: nobody knows."""

    node: str
    rank: Rank
    placement: Placement
    done_ms: int | None
    origin: Origin

    def held(self, now_ms: int) -> tuple[Placement, End | None]:
        if self.done_ms is None:
            return self.placement, None
        return self.placement, End(max(0, self.done_ms - now_ms) / 1000, self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``document``: as it is stored with the decision; with ``could_ms``, since when it could have gone
    elsewhere; ``text``: for people; ``wait_s``: from now."""

    document: dict[str, Any]
    text: str
    wait_s: float


class Waits:
    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._turns: dict[Key, Turn] = {}

    def forget(self, key: Key) -> None:
        """It waits for no node any more."""
        self._turns.pop(key, None)

    def look(
        self, instance: Instance, run: int, demand: Demand, policy: Policy, now_ms: int
    ) -> Plan | None:
        """The node that it waits for from now on (until ``forget``); None: it does not wait. ``run``: of its
        task."""
        before = stored_wait(instance.decision, run)
        since_ms = now_ms if before is None else min(before["since_ms"], now_ms)
        could_ms = (before or {}).get("could_ms")
        rank = (-demand.priority, since_ms, instance.key)
        wait = room_to_wait_for(
            self._holdings.pool,
            demand,
            lambda node: self._holdings.held(node, now_ms),
            self._ahead(rank, now_ms),
            waited_s=0.0 if could_ms is None else (now_ms - could_ms) / 1000,
            policy=policy,
        )
        if wait is None:
            return None
        document = _document(wait, run, now_ms) | {"since_ms": since_ms}
        if wait.instead is not None:
            document["could_ms"] = now_ms if could_ms is None else could_ms
        if before is not None and _same(before, document):
            document = before
        self._turns[instance.key] = Turn(
            node=wait.node,
            rank=rank,
            placement=placement_of(
                f"{instance.task}/{instance.instance}", demand, wait.node, wait.gpus
            ),
            done_ms=_done_ms(wait, now_ms),
            origin=wait.origin,
        )
        return Plan(document=document, text=text_of(document), wait_s=wait.wait_s)

    def _ahead(self, rank: Rank, now_ms: int) -> Callable[[str], Held]:
        def ahead(node: str) -> Held:
            turns = self._turns.values()
            return [each.held(now_ms) for each in turns if each.node == node and each.rank < rank]

        return ahead


def stored_wait(decision: str | None, run: int) -> dict[str, Any] | None:
    """What an instance waits for, as it is in the database, if it did so in this run of its task."""
    found = {} if decision is None else orjson.loads(decision).get("waits")
    return found if isinstance(found, dict) and found.get("run") == run else None


def _done_ms(wait: Wait, now_ms: int) -> int | None:
    return None if wait.origin == "unknown" else now_ms + round(wait.completion_s * 1000)


def _document(wait: Wait, run: int, now_ms: int) -> dict[str, Any]:
    return {
        "node": wait.node,
        "run": run,
        "told_ms": now_ms,
        "room_ms": now_ms + round(wait.wait_s * 1000),
        "done_ms": _done_ms(wait, now_ms),
        "ahead": wait.ahead,
        "estimate": [asdict(figure) for figure in wait.figures],
        "instead": wait.instead,
        "instead_s": wait.instead_s,
        "instead_estimate": [asdict(figure) for figure in wait.instead_figures],
    }


def _same(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether what was told is still about true."""
    if (before["node"], before["instead"]) != (now["node"], now["instead"]):
        return False
    moved_s = abs(now["room_ms"] - before["room_ms"]) / 1000
    waits_s = (before["room_ms"] - before["told_ms"]) / 1000
    return bool(moved_s <= max(SAME_S, SAME_PART * waits_s))


def text_of(document: Mapping[str, Any]) -> str:
    """``it waits: cam-1 should have room at about 08:01:12 UTC; core-1 has room now, and would take …``."""
    node, done_ms = document["node"], document["done_ms"]
    done = "" if done_ms is None else f", and it is done there by {_clock(done_ms)}"
    text = f"{node} should have room at about {_clock(document['room_ms'])} UTC{done}"
    if document["instead"] is None:
        return text
    return (
        f"it waits: {text}; {document['instead']} has room now, and would take "
        f"{document['instead_s']:,.0f} s"
    )


def _clock(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%H:%M:%S")
