"""The pool in memory: what every node has and what is granted there; and the places that are found in it.

The database is the truth: an instance's grants are taken over from there at each look at it. Only the event
loop touches it.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any

import orjson
from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.nodes import store as node_store
from farshore_center.nodes.registry import Registry
from farshore_center.placement import (
    POLICIES,
    Choice,
    Demand,
    Explanation,
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
from farshore_center.tasks.records import Granted, Instance, Key, Task

Members = Callable[[str], Awaitable[frozenset[str]]]

EXPLAINED_AT_ONCE = 64
"""In a pool of so many nodes every decision is stored with its verdict on each."""
CANDIDATES = 50
_CHUNK = 400


def label_of(grant: Granted) -> str:
    return f"{grant.task}/{grant.instance}/{grant.epoch}"


def key_of(label: str) -> Key:
    task, instance, _ = label.rsplit("/", 2)
    return task, int(instance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What placement said. ``why``: for ``explain``, JSON text."""

    choice: Choice | Unplaceable
    demand: Demand
    why: str


class Books:
    """``members``: the nodes that a selector means now."""

    def __init__(
        self, database: Database, registry: Registry, members: Members, *, rng: Random
    ) -> None:
        self._database = database
        self._registry = registry
        self._choose = members
        self._rng = rng
        self.pool = Pool()
        self._facts: dict[str, tuple[str | None, dict[str, Any]]] = {}
        self._links: dict[str, Link] = {}
        self._refusals: dict[str, str] = {}
        self._stale: set[str] | None = None
        self._known: dict[str, frozenset[str] | None] = {}
        self._labels: dict[Key, dict[int, str]] = {}
        self._of_task: dict[str, set[Key]] = {}

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

    def refuse(self, node: str, why: str) -> None:
        """Nothing new to this node; empty: again."""
        if self._refusals.get(node, "") == why:
            return
        self._refusals[node] = why
        if node in self.pool:
            self.pool.refuse(node, why)
        self._known = {text: found for text, found in self._known.items() if "state" not in text}

    def kind_of(self, node: str) -> str:
        """Nodes of one kind run a task equally fast."""
        return self.pool.node(node).kind if node in self.pool else ""

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
                )
            )
        gone = [name for name in self.nodes() if self._registry.get(name) is None]
        for name in gone:
            for placement in self.pool.drop_node(name):
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

    def follow(self, key: Key, grants: Iterable[Granted], specs: Mapping[int, TaskSpec]) -> bool:
        """Takes over an instance's grants that have not ended; whether something became free.

        ``specs``: by revision.
        """
        live = {grant.epoch: grant for grant in grants if not grant.final}
        held = self._labels.setdefault(key, {})
        gone = [epoch for epoch in held if epoch not in live]
        for epoch in gone:
            self.pool.remove(held.pop(epoch))
        for epoch, grant in live.items():
            spec = specs.get(grant.revision)
            if epoch not in held and spec is not None and grant.node in self.pool:
                label = label_of(grant)
                demand = demand_of(spec, members={})
                self.pool.adopt(label, demand, grant.node, grant.gpus)
                held[epoch] = label
        if held:
            self._of_task.setdefault(key[0], set()).add(key)
        else:
            del self._labels[key]
            self._of_task.get(key[0], set()).discard(key)
        return bool(gone)

    # Places

    async def prepare(self, specs: Iterable[TaskSpec]) -> None:
        """The nodes that their selectors mean; one that can't be read any more means none."""
        for spec in specs:
            for text in selectors_of(spec):
                if text == "all":
                    self._known[text] = None
                elif text not in self._known:
                    try:
                        self._known[text] = await self._choose(text)
                    except SelectorError:
                        self._known[text] = frozenset()

    def demand(
        self, task: Task, instance: Instance, now_ms: int, runs: Mapping[str, RunTime]
    ) -> Demand:
        deadline_ms = task.deadline_ms
        return demand_of(
            task.spec,
            members=self._known,
            peers=self.nodes_of(task.name),
            avoid=instance.avoid,
            everywhere=self.nodes() if instance.avoid else (),
            deadline_s=None if deadline_ms is None else max(0.0, (deadline_ms - now_ms) / 1000),
            run_times=runs,
        )

    def find(
        self, task: Task, instance: Instance, now_ms: int, runs: Mapping[str, RunTime]
    ) -> Found:
        demand = self.demand(task, instance, now_ms, runs)
        policy = policy_of(task.spec)
        choice = choose(self.pool, demand, policy, self._rng)
        if instance.avoid and not isinstance(choice, Choice):
            # The others are silent, drained or full: rather where it failed than nowhere.
            demand = self.demand(task, replace(instance, avoid=()), now_ms, runs)
            choice = choose(self.pool, demand, policy, self._rng)
        return Found(choice=choice, demand=demand, why=self._explained(choice, demand, policy))

    def _explained(self, choice: Choice | Unplaceable, demand: Demand, policy: Policy) -> str:
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
        if len(self.pool) <= EXPLAINED_AT_ONCE:
            sampled = choice.sampled if isinstance(choice, Choice) else None
            verdicts = explain(self.pool, demand, policy, sampled)
            document["candidates"] = candidates_of(verdicts)
        return orjson.dumps(document).decode()

    def book(self, grant: Granted, demand: Demand) -> None:
        label = label_of(grant)
        self.pool.adopt(label, demand, grant.node, grant.gpus)
        self._labels.setdefault(grant.of, {})[grant.epoch] = label
        self._of_task.setdefault(grant.task, set()).add(grant.of)

    def verdicts(
        self, task: Task, instance: Instance, now_ms: int, runs: Mapping[str, RunTime]
    ) -> list[dict[str, Any]]:
        """On every node as of now, as if this instance had nothing."""
        held = self._labels.get(instance.key, {})
        pool = self.pool.without(*held.values())
        demand = self.demand(task, instance, now_ms, runs)
        return candidates_of(explain(pool, demand, policy_of(task.spec)))


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


def load_runs(conn: Connection, names: Iterable[str]) -> dict[str, dict[str, RunTime]]:
    return estimates.load_runs(conn, names)
