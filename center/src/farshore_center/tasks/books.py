"""The pool in memory: what every node has and what is granted there; and the places that are found in it.

The database is the truth: an instance's grants are taken over from there at each look at it. Only the event
loop touches it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
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
from farshore_center.tasks.demands import demand_of, selectors_of
from farshore_center.tasks.documents import Documents, text_of
from farshore_center.tasks.explaining import candidates_of, explained, policy_of
from farshore_center.tasks.records import Granted, Instance, Key, Task

Members = Callable[[str], Awaitable[frozenset[str]]]
Charges = Callable[[Iterable[str]], Awaitable[Mapping[str, float]]]
"""Of these nodes, the percent of those that run on a battery."""

_CHUNK = 400


def label_of(grant: Granted) -> str:
    return f"{grant.task}/{grant.instance}/{grant.epoch}"


def key_of(label: str) -> Key:
    task, instance, _ = label.rsplit("/", 2)
    return task, int(instance)


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


class Books:
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
        self.pool = Pool()
        self.documents = Documents()
        self._facts: dict[str, tuple[str | None, dict[str, Any]]] = {}
        self._links: dict[str, Link] = {}
        self._refusals: dict[str, str] = {}
        self._stale: set[str] | None = None
        self._known: dict[str, frozenset[str] | None] = {}
        self._labels: dict[Key, dict[int, str]] = {}
        self._of_task: dict[str, set[Key]] = {}
        self._services: set[str] = set()
        self._ending: set[str] = set()

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
            else [entry for name in stale if (entry := self._registry.get(name)) is not None]
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
            self.documents.drop(name)
            for placement in self.pool.drop_node(name):
                self._ending.discard(placement.task)
                self._labels.get(key_of(placement.task), {}).pop(
                    int(placement.task.rsplit("/", 1)[1]), None
                )

    def nodes(self) -> list[str]:
        return list(self.pool.columns.names)

    # Grants

    def on(self, node: str) -> list[Key]:
        """The instances that have something there."""
        return [key_of(held.task) for held in self.pool.on(node)]

    def where(self, key: Key) -> str | None:
        """The node of its newest grant."""
        held = self._labels.get(key)
        return None if not held else self.pool.placement(held[max(held)]).node

    def nodes_of(self, task: str) -> list[str]:
        """Where its instances are, one entry for each."""
        found = []
        for key in self._of_task.get(task, ()):
            for label in self._labels.get(key, {}).values():
                found.append(self.pool.placement(label).node)
        return found

    def follow(
        self,
        key: Key,
        grants: Iterable[Granted],
        specs: Mapping[int, TaskSpec],
        priority: int | None = None,
    ) -> bool:
        """Takes over an instance's grants that have not ended; whether something became free.

        ``specs``: by revision. ``priority``: of the task as it is now.
        """
        live = {grant.epoch: grant for grant in grants if not grant.final}
        held = self._labels.setdefault(key, {})
        gone = [epoch for epoch in held if epoch not in live]
        for epoch in gone:
            self._release(held.pop(epoch))
        for epoch, grant in live.items():
            spec = specs.get(grant.revision)
            if spec is not None and priority is not None:
                spec = replace(spec, priority=priority)
            if epoch in held and self.pool.placement(held[epoch]).priority != priority is not None:
                self._release(held.pop(epoch))
            if epoch not in held and spec is not None and grant.node in self.pool:
                self._hold(grant, demand_of(spec, members={}), spec)
            self.note(grant)
        if held:
            self._of_task.setdefault(key[0], set()).add(key)
        else:
            del self._labels[key]
            self._of_task.get(key[0], set()).discard(key)
        return bool(gone)

    def _hold(self, grant: Granted, demand: Demand, spec: TaskSpec) -> None:
        label = label_of(grant)
        self.pool.adopt(label, demand, grant.node, grant.gpus)
        self.documents.add(grant.node, label, text_of(grant.task, spec))
        self._labels.setdefault(grant.of, {})[grant.epoch] = label
        self._of_task.setdefault(grant.task, set()).add(grant.of)
        if spec.kind == "service":
            self._services.add(grant.task)
        else:
            self._services.discard(grant.task)

    def _release(self, label: str) -> None:
        self.documents.remove(self.pool.remove(label).node, label)
        self._ending.discard(label)

    def note(self, grant: Granted) -> None:
        """Whether it is told to end: what it holds will be free."""
        label = label_of(grant)
        if grant.want == "stop" and label in self.pool.placements:
            self._ending.add(label)
        else:
            self._ending.discard(label)

    @property
    def ending(self) -> Set[str]:
        """Labels of grants that are told to end, and hold their place until they have."""
        return self._ending

    def services_below(self, priority: int) -> set[str]:
        """The services of which something runs at this priority or below."""
        weak = (held for held in self.pool.placements.values() if held.priority <= priority)
        return {key_of(held.task)[0] for held in weak} & self._services

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
        )

    def find(
        self, task: Task, instance: Instance, now_ms: int, runs: Mapping[str, RunTime]
    ) -> Found:
        """Where it failed before it goes again when no other node takes it."""
        demand = self.demand(task, instance, now_ms, runs)
        policy = policy_of(task.spec)
        choice = choose(self.pool, demand, policy, self._rng)
        if instance.avoid and not isinstance(choice, Choice):
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
        held = self._labels.get(instance.key, {})
        pool = self.pool.without(*held.values())
        demand = self.demand(task, instance, now_ms, runs)
        return candidates_of(explain(pool, demand, policy_of(task.spec)))


def load_runs(conn: Connection, names: Iterable[str]) -> dict[str, dict[str, RunTime]]:
    return estimates.load_runs(conn, names)
