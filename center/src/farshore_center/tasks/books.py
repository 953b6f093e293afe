"""The pool in memory: what every node has and what is granted there; and the places that are found in it.

The database is the truth: an instance's grants are taken over from there at each look at it. Only the event
loop touches it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.nodes import store as node_store
from farshore_center.nodes.registry import Registry
from farshore_center.placement import (
    Choice,
    Demand,
    Link,
    Policy,
    Pool,
    RunTime,
    Unplaceable,
    choose,
    explain,
)
from farshore_center.selectors import SelectorError
from farshore_center.tasks import estimates
from farshore_center.tasks.capacity import capacity_of
from farshore_center.tasks.claims import label_of as claim_label
from farshore_center.tasks.demands import demand_of, selectors_of
from farshore_center.tasks.documents import text_of
from farshore_center.tasks.explaining import candidates_of, explained, policy_of
from farshore_center.tasks.holdings import Holdings
from farshore_center.tasks.records import Granted, Instance, Task

Members = Callable[[str], Awaitable[frozenset[str]]]
Charges = Callable[[Iterable[str]], Awaitable[Mapping[str, float]]]
"""Of these nodes, the percent of those that run on a battery."""

_CHUNK = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What placement said. ``why``: for ``explain``."""

    choice: Choice | Unplaceable
    demand: Demand
    policy: Policy
    why: dict[str, Any]


CHARGES_S = 10.0
"""So old may a charge be that a floor is held against."""


async def on_mains(_nodes: Iterable[str]) -> Mapping[str, float]:
    return {}


class Books(Holdings):
    """``members``: the nodes that a selector means now; ``charges``: of their batteries."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        members: Members,
        *,
        rng: Random,
        charges: Charges = on_mains,
        now_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._database = database
        self._registry = registry
        self._choose = members
        self._rng = rng
        self._ask_charges = charges
        self._now_s = now_s
        self._charged_s = float("-inf")
        self._charges: Mapping[str, float] = {}
        super().__init__(Pool())
        self._facts: dict[str, tuple[str | None, dict[str, Any]]] = {}
        self._links: dict[str, Link] = {}
        self._refusals: dict[str, str] = {}
        self._stale: set[str] | None = None
        self._known: dict[str, frozenset[str] | None] = {}

    @property
    def members(self) -> Mapping[str, frozenset[str] | None]:
        """The nodes of each selector that was prepared."""
        return self._known

    # Nodes

    def changed(self, nodes: Iterable[str] | None) -> None:
        """Places, labels, facts, capabilities; None: maybe of every node."""
        self._known.clear()
        if nodes is None:
            self._stale = None
        elif self._stale is not None:
            self._stale.update(nodes)

    def refuse(self, node: str, why: str) -> bool:
        """Nothing new to this node; empty: again. Whether that is another answer than before."""
        if self._refusals.get(node, "") == why:
            return False
        self._refusals[node] = why
        if node in self.pool:
            self.pool.refuse(node, why)
        self._known = {text: found for text, found in self._known.items() if "state" not in text}
        return True

    def kinds_of(self, node: str) -> tuple[str, ...]:
        """By what run times are kept: the node, its kind (nodes of one kind run a task equally fast), its
        side."""
        if node not in self.pool:
            return (node,)
        capacity = self.pool.node(node)
        return (node, capacity.kind, capacity.side)

    async def refresh(self) -> None:
        """The nodes that changed, as they are now."""
        stale, self._stale = self._stale, set()
        entries = (
            self._registry.all()
            if stale is None
            else [
                entry for name in sorted(stale) if (entry := self._registry.get(name)) is not None
            ]
        )
        if stale is None or stale:
            self._links = await self._database.read(estimates.load_links)
        names = [entry.name for entry in entries]
        facts: dict[str, dict[str, Any]] = {}
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            facts |= await self._database.read(
                lambda conn, chunk=chunk: node_store.facts_of(conn, chunk)  # type: ignore[misc] # bound now
            )
        for entry in entries:
            self.pool.set_node(
                capacity_of(
                    entry,
                    facts.get(entry.name, {}),
                    refuses=self._refusals.get(entry.name, ""),
                    link=self._links.get(entry.name),
                    battery_pct=self._charges.get(entry.name),
                )
            )
        gone = [name for name in self.nodes() if self._registry.get(name) is None]
        for name in gone:
            self.drop(name)

    def nodes(self) -> list[str]:
        return list(self.pool.columns.names)

    # Places

    async def prepare(self, specs: Iterable[TaskSpec]) -> None:
        """The nodes that their selectors mean; one that can't be read any more means none. The charges, where
        one has a floor."""
        for spec in specs:
            if spec.battery_min_percent:
                await self._look_at_charges()
            for text in selectors_of(spec):
                if text == "all":
                    self._known[text] = None
                elif text not in self._known:
                    try:
                        self._known[text] = await self._choose(text)
                    except SelectorError:
                        self._known[text] = frozenset()

    async def _look_at_charges(self) -> None:
        now_s = self._now_s()
        if now_s < self._charged_s + CHARGES_S:
            return
        self._charged_s = now_s
        before, self._charges = self._charges, await self._ask_charges(self.nodes())
        for name in before.keys() | self._charges.keys():
            charge = self._charges.get(name)
            if name in self.pool and charge != before.get(name):
                self.pool.set_node(replace(self.pool.node(name), battery_pct=charge))

    def demand(
        self, task: Task, instance: Instance, now_ms: int, runs: Mapping[str, RunTime]
    ) -> Demand:
        deadline_ms = task.deadline_ms
        peers = self.nodes_of(task.name)
        if (own := self.where(instance.key)) is not None:
            peers.remove(own)
        return demand_of(
            task.spec,
            members=self._known,
            peers=peers,
            over_document=self.documents.full_for(text_of(task.name, task.spec)),
            avoid=instance.avoid,
            everywhere=self.nodes() if instance.avoid else (),
            deadline_s=None if deadline_ms is None else max(0.0, (deadline_ms - now_ms) / 1000),
            run_times=runs,
            traffic=self.traffic(now_ms, beside=instance.key)
            if task.spec.reads or task.spec.writes
            else {},
        )

    def find(
        self, task: Task, instance: Instance, now_ms: int, runs: Mapping[str, RunTime]
    ) -> Found:
        """Where it failed before it goes again when no other node takes it."""
        demand = self.demand(task, instance, now_ms, runs)
        policy = policy_of(task.spec)
        choice = choose(self.pool, demand, policy, self._rng)
        if instance.avoid and not isinstance(choice, Choice):
            # The others are silent, drained or full: rather where it failed than nowhere.
            demand = self.demand(task, replace(instance, avoid=()), now_ms, runs)
            choice = choose(self.pool, demand, policy, self._rng)
        why = explained(self.pool, choice, demand, policy)
        return Found(choice=choice, demand=demand, policy=policy, why=why)

    def book(self, grant: Granted, demand: Demand, spec: TaskSpec) -> None:
        self._hold(grant, demand, spec)

    def verdicts(
        self, task: Task, instance: Instance, now_ms: int, runs: Mapping[str, RunTime]
    ) -> list[dict[str, Any]]:
        """On every node as of now, as if this instance had nothing."""
        held = [*self._labels.get(instance.key, {}).values(), claim_label(instance.key)]
        pool = self.pool.without(*(label for label in held if label in self.pool.placements))
        demand = self.demand(task, instance, now_ms, runs)
        return candidates_of(explain(pool, demand, policy_of(task.spec)))


def load_runs(conn: Connection, names: Iterable[str]) -> dict[str, dict[str, RunTime]]:
    return estimates.load_runs(conn, names)
