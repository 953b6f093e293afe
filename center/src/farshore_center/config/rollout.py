"""Nodes join or leave an overlay's layer, some at a time: for jobs, inside their own transaction.

What the nodes should run then is planned before the transaction and written in it, together with the
job's own transition; so there is no moment at which one is true and the other is not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from farshore_center.config import layer_store, node_store
from farshore_center.config.address import Address
from farshore_center.config.checks import Checker
from farshore_center.config.desired import apply
from farshore_center.config.fleet import Fleet, Groups, Place
from farshore_center.config.plan import Fault, Layers, Plan, Stacks, faults, layer_of, pairs, plan
from farshore_center.config.world import Places, read_known, the_fleet
from farshore_center.db.database import Database
from farshore_center.events.model import Draft


@dataclass(slots=True, kw_only=True)
class Moving:
    """A move that is planned. ``write`` it in the transaction that decides it."""

    plan: Plan
    nodes: tuple[str, ...]
    pending: list[str] = field(default_factory=list)
    written: bool = False

    def write(self, conn: Connection, now_ms: int) -> tuple[dict[str, int], list[Draft]]:
        """By node, the revision that it has to run then (0: nothing is asked of it); and events."""
        applied = apply(conn, self.plan, now_ms)
        self.pending, self.written = list(applied.pending), True
        rows = node_store.load(conn, self.nodes)
        known = {goal.place.node for goal in self.plan.goals}
        revs = {node: rows[node].rev if node in rows else 0 for node in self.nodes if node in known}
        return revs, list(applied.drafts)


class Rollouts:
    def __init__(
        self,
        database: Database,
        groups: Groups,
        places: Places,
        *,
        lock: asyncio.Lock,
        decided: Callable[[Sequence[str]], None],
    ) -> None:
        self._database = database
        self._groups = groups
        self._places = places
        self._lock = lock
        self._decided = decided

    @asynccontextmanager
    async def moving(
        self, overlay: str, nodes: Sequence[str], *, join: bool
    ) -> AsyncIterator[Moving]:
        """``nodes`` join the overlay's layer, or leave it. No other change comes between the plan and
        the end of the block; what is to be sent is sent after it."""
        async with self._lock:
            fleet = await the_fleet(self._database, self._groups, self._places)
            fleet = _with(fleet, overlay, frozenset(nodes), join=join)
            wanted = set(nodes)
            places = [place for place in fleet.places if place.node in wanted]
            known = await self._database.read(lambda conn: read_known(conn, fleet, places))
            found = await asyncio.to_thread(
                lambda: plan(places, Stacks(fleet, known.layers), Checker(known.schemas), {})
            )
            move = Moving(plan=found, nodes=tuple(nodes))
            yield move
        if move.written:
            self._decided(move.pending)

    def begin(
        self,
        conn: Connection,
        overlay: str,
        patch: dict[str, Any],
        *,
        author: str,
        message: str,
        now_ms: int,
    ) -> None:
        """The overlay's layer; nobody has it yet."""
        layer_store.add(
            conn,
            Address("overlay", overlay),
            patch,
            author=author,
            message=message,
            now_ms=now_ms,
        )

    async def faults(
        self, overlay: str, priority: int, patch: dict[str, Any], nodes: Iterable[str]
    ) -> list[Fault]:
        """What would break if all the nodes had the patch as a layer of that priority."""
        wanted = frozenset(nodes)
        fleet = await the_fleet(self._database, self._groups, self._places)
        ranks = {each.name: each.priority for each in self._groups.overlays()}
        lower = [each for each in fleet.overlays if ranks.get(each[0], 0) <= priority]
        higher = [each for each in fleet.overlays if each not in lower]
        fleet = replace(fleet, overlays=(*lower, (overlay, wanted), *higher))
        places = [place for place in fleet.places if place.node in wanted]
        known = await self._database.read(lambda conn: read_known(conn, fleet, places))
        address = Address("overlay", overlay)
        after = {**known.layers, address: layer_of(address, 1, patch)}
        checker = Checker(known.schemas)
        return await asyncio.to_thread(_faults, fleet, places, known.layers, after, checker)


def _faults(
    fleet: Fleet, places: Sequence[Place], before: Layers, after: Layers, checker: Checker
) -> list[Fault]:
    return faults(
        (pair.place, checker.violations(pair.before), checker.violations(pair.after))
        for pair in pairs(fleet, places, before, after)
    )


def _with(fleet: Fleet, overlay: str, nodes: frozenset[str], *, join: bool) -> Fleet:
    overlays = tuple(
        (name, (has | nodes if join else has - nodes) if name == overlay else has)
        for name, has in fleet.overlays
    )
    return replace(fleet, overlays=overlays)
