"""The loop of tasks: load, decide, persist, act. Woken by what happens; moments wait in one heap.

A decision is made on what a reader saw and on the pool in memory, and written with compare-and-set: whoever
loses looks again. Before anything is written that ends a grant, its lease is closed.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events import Event, EventLog
from farshore_center.placement import Choice, Demand, RunTime
from farshore_center.tasks import engine, store
from farshore_center.tasks.books import Books, load_runs
from farshore_center.tasks.budget import Budget, load_standing
from farshore_center.tasks.cron import begin_due
from farshore_center.tasks.deadlines import Deadlines
from farshore_center.tasks.delivery import Delivery
from farshore_center.tasks.engine import Decision
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.lines import drafts_of
from farshore_center.tasks.listening import Listening
from farshore_center.tasks.records import Granted, Instance, Key, Line, Task
from farshore_center.tasks.settings import TaskSettings
from farshore_center.tasks.sites import Drain
from farshore_center.tasks.work import View, World

log = structlog.get_logger(__name__)

_LONGEST_WAIT_S = 60.0
_PRUNE_EVERY_S = 600.0
_HELD_S = 1.0
WAITING_AT_ONCE = 100
"""Instances without a place that are looked at when something becomes free."""

Look = tuple[str, str, int]
"""``instance``, ``node`` or ``task``; its name; the number of the instance."""


@dataclass(slots=True, kw_only=True)
class TaskCounts:
    """Since the start."""

    rounds: int = 0
    placed: int = 0
    replaced: int = 0
    lost: int = 0
    kept: int = 0
    unplaceable: int = 0
    outrun: int = 0
    results: int = 0
    results_refused: int = 0
    strays: int = 0
    preempted: int = 0


@dataclass(slots=True, kw_only=True)
class Loaded:
    """What one round looks at."""

    tasks: dict[str, Task]
    instances: dict[Key, Instance]
    grants: dict[Key, dict[int, Granted]]
    specs: dict[tuple[str, int], TaskSpec]
    runs: dict[str, dict[str, RunTime]]
    standing: dict[str, tuple[int, int]]


@dataclass(slots=True, kw_only=True)
class Decided:
    """Of one round; ``booked``: what placement was asked for, by the grant."""

    decisions: list[Decision] = field(default_factory=list)
    won: list[Decision] = field(default_factory=list)
    lost: list[Decision] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    asks: set[str] = field(default_factory=set)
    """Nodes that are heard again without a birth: a new document makes them say what they have."""


class Runner:
    """``held``: whether nothing may be decided now (a restored center waits for a person)."""

    def __init__(
        self,
        database: Database,
        events: EventLog,
        books: Books,
        listening: Listening,
        leases: Leases,
        delivery: Delivery,
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        held: Callable[[], bool],
        settings: TaskSettings,
    ) -> None:
        self._database = database
        self._events = events
        self._books = books
        self._listening = listening
        self._leases = leases
        self._delivery = delivery
        self._now_ms = now_ms
        self._now_s = now_s
        self._held = held
        self._settings = settings
        self._due: Deadlines[Look] = Deadlines()
        self._waiting: dict[Key, int] = {}
        self._drains: dict[str, Drain] = {}
        self._woken = asyncio.Event()
        self._pruned_s = now_s()
        self.counts = TaskCounts()

    # What happens elsewhere

    def look_now(self, keys: Iterable[Key]) -> None:
        now_s = self._now_s()
        for task, number in keys:
            self._due.put(("instance", task, number), now_s)
        self._woken.set()

    def look_at_node(self, node: str, at_s: float | None = None) -> None:
        self._due.put(("node", node, 0), self._now_s() if at_s is None else at_s)
        self._woken.set()

    def occurs(self, task: str, next_ms: int) -> None:
        """A task with a cron rule is due then."""
        self._due.put(("task", task, 0), self._moment_s(next_ms))
        self._woken.set()

    def freed(self) -> None:
        """Something became free, or a node takes work: who waits for a place is looked at."""
        first = sorted(self._waiting, key=lambda key: -self._waiting[key])[:WAITING_AT_ONCE]
        if first:
            self.look_now(first)

    def drained(self, node: str, drain: Drain | None) -> None:
        if drain is None:
            self._drains.pop(node, None)
        else:
            self._drains[node] = drain
        self.look_at_node(node)

    def is_drained(self, node: str) -> bool:
        return node in self._drains

    def wake(self) -> None:
        """Looks at the clock."""
        self._woken.set()

    @property
    def waiting(self) -> int:
        """Instances that no node takes now."""
        return len(self._waiting)

    # The loop

    async def start(self) -> None:
        """Takes over what the database has; before the loop and before any node is heard."""

        def load(conn: Connection) -> tuple[list[Granted], list[Key], list[tuple[str, int]]]:
            for row in store.all_nodes(conn).values():
                if row.drained:
                    self._drains[row.node] = Drain(until_ms=row.drain_until_ms)
            live = store.all_live_grants(conn)
            unsettled = store.unsettled(conn) + store.begun_anew(conn)
            return live, unsettled, store.next_occurrences(conn)

        live, unsettled, occurrences = await self._database.read(load)
        await self._books.refresh()
        self._leases.used = bool(self._books.nodes())
        for node in self._books.nodes():
            self._books.refuse(node, self._refusal(node, online=False))
        self.look_now(sorted({grant.of for grant in live} | set(unsettled)))
        for node in sorted({grant.node for grant in live}):
            self.look_at_node(node)
        await self._take_over(live)
        for task, next_ms in occurrences:
            self.occurs(task, next_ms)

    async def _take_over(self, live: Sequence[Granted]) -> None:
        """Their leases are renewed at once, and they are booked before anything new is placed."""
        by_key: dict[Key, list[Granted]] = {}
        for grant in live:
            by_key.setdefault(grant.of, []).append(grant)

        def load(conn: Connection) -> tuple[dict[Key, Instance], dict[tuple[str, int], TaskSpec]]:
            wanted = {(grant.task, grant.revision) for grant in live}
            return store.load_instances(conn, by_key), store.specs(conn, wanted)

        instances, specs = await self._database.read(load)
        for key, grants in by_key.items():
            of_task = {rev: spec for (task, rev), spec in specs.items() if task == key[0]}
            self._books.follow(key, grants, of_task)
            instance = instances.get(key)
            for grant in grants:
                if instance is not None and instance.epoch == grant.epoch and grant.want == "run":
                    self._leases.open(grant)

    async def run(self) -> None:
        """Until it is cancelled. A database that fails is tried again: what is due stays due."""
        while True:
            self._woken.clear()
            try:
                await self.round()
            except DatabaseError as exc:
                log.error("tasks can't be decided now", reason=str(exc))
                await asyncio.sleep(self._settings.retry_s)
                continue
            await self._wait()

    async def _wait(self) -> None:
        next_s, wait_s = self._due.next_s(), _LONGEST_WAIT_S
        if next_s is not None:
            wait_s = min(max(next_s - self._now_s(), 0), wait_s)
        if self._held():
            wait_s = _HELD_S
        try:
            async with asyncio.timeout(wait_s):
                await self._woken.wait()
        except TimeoutError:
            return

    async def round(self) -> None:
        """Everything that is due now."""
        if self._held():
            return
        await self._prune()
        while due := self._due.take_due(self._now_s(), self._settings.batch):
            self.counts.rounds += 1
            keys = [(name, number) for kind, name, number in due if kind == "instance"]
            tasks = [name for kind, name, _ in due if kind == "task"]
            for kind, name, _ in due:
                if kind == "node":
                    keys += self._node(name)
            try:
                await self._begin(tasks)
                await self._look(list(dict.fromkeys(keys)))
            except DatabaseError:
                for look in due:
                    self._due.put(look, self._now_s())
                self.look_now(keys)
                raise

    # Nodes

    def _refusal(self, node: str, *, online: bool) -> str:
        if node in self._drains:
            return "drained"
        return "" if online else "silent"

    def _node(self, node: str) -> list[Key]:
        """The instances to look at because of what was heard, or not heard, of a node."""
        sites = self._listening.sites()
        ear = sites.ears.get(node)
        silent = ear is None or ear.silent_since_s(sites.now_s) is not None
        self._books.refuse(node, self._refusal(node, online=not silent))
        if node not in self._books.pool:
            return []
        keys = self._books.on(node)
        if ear is not None and not silent and keys:
            self._due.put(("node", node, 0), ear.overdue_s())
        if silent:
            self._listening.await_([node], node)
        elif not keys:
            self.freed()
        return keys

    # Occurrences

    async def _begin(self, tasks: Sequence[str]) -> None:
        for name in tasks:
            begun = await begin_due(
                self._database,
                self._events,
                name,
                now_ms=self._now_ms(),
                late_s=self._settings.late_s,
            )
            self.look_now(begun.keys)
            if begun.next_ms is not None:
                self.occurs(name, begun.next_ms)

    # Instances

    async def _look(self, keys: Sequence[Key]) -> None:
        if not keys:
            return
        await self._books.refresh()
        loaded = await self._database.read(lambda conn: load(conn, keys))
        await self._books.prepare(task.spec for task in loaded.tasks.values())
        decided = self._decide(loaded)
        await self._keep(decided)
        self._settle(decided)

    def _decide(self, loaded: Loaded) -> Decided:
        """No other task of the loop runs in here: what leases and the pool say stays true."""
        now_ms, now_s = self._now_ms(), self._now_s()
        sites = self._listening.sites()
        nodes = {grant.node for each in loaded.grants.values() for grant in each.values()}
        world = World(
            now_ms=now_ms,
            now_s=now_s,
            sights=sites.sights(nodes, self._drains),
            lease_over_s=self._leases.over_s,
            forgotten_s=self._leases.forgotten_s,
            may_disrupt=Budget(loaded.standing).take,
        )
        decided = Decided()
        for key, instance in sorted(
            loaded.instances.items(), key=lambda item: -loaded.tasks[item[0][0]].spec.priority
        ):
            task, grants = loaded.tasks[key[0]], loaded.grants.get(key, {})
            specs = {rev: spec for (name, rev), spec in loaded.specs.items() if name == key[0]}
            if self._books.follow(key, grants.values(), specs):
                self.freed()
            view = View(task=task, instance=instance, grants=grants)
            decided.asks |= {
                grant.node
                for grant in grants.values()
                if grant.state == "lost" and _heard(world, grant.node)
            }
            decision = engine.decide(view, world, self._settings.rules)
            decision = self._place(decision, loaded.runs.get(task.name, {}), now_ms)
            self._close(decision)
            self._watch(decision, world)
            decided.decisions.append(decision)
        return decided

    def _place(self, decision: Decision, runs: Mapping[str, RunTime], now_ms: int) -> Decision:
        place, instance, task = decision.place, decision.after, decision.view.task
        if place is None or instance is None:
            if instance is not None:
                self._waiting.pop(instance.key, None)
            return decision
        found = self._books.find(task, instance, now_ms, runs)
        if not isinstance(found.choice, Choice):
            self._waiting[instance.key] = task.spec.priority
            self.counts.unplaceable += 1
            return engine.refused(decision, str(found.choice), found.why)
        self._waiting.pop(instance.key, None)
        if place.why == "drained":
            return engine.leave(decision, instance.epoch, "drained")
        granted = engine.grant(decision, found.choice.node, found.choice.gpus, now_ms, found.why)
        self._book(granted.grants[-1], found.demand)
        return granted

    def _book(self, grant: Granted, demand: Demand) -> None:
        self._books.book(grant, demand)
        # Now, and not after the commit: nobody may think that it was granted by an earlier center.
        self._leases.granted(grant)

    def _close(self, decision: Decision) -> None:
        """Before it is written: nothing that is decided away is renewed any more."""
        before, after = decision.view.instance, decision.after
        current = {grant.epoch: grant for grant in decision.grants}.get(before.epoch)
        ended = current is not None and (current.want == "stop" or current.final)
        if after is None or after.epoch != before.epoch or after.state != "active" or ended:
            self._leases.close(before.key)

    def _watch(self, decision: Decision, world: World) -> None:
        """When it is looked at again, and whom that may depend on."""
        key = decision.view.instance.key
        look: Look = ("instance", *key)
        if decision.look_s is not None:
            self._due.put(look, decision.look_s)
        if decision.look_ms is not None:
            self._due.put(look, self._moment_s(decision.look_ms))
        if key in self._waiting:
            self._due.put(look, world.now_s + self._settings.look_again_s)
        sites = None
        for node in {grant.node for grant in decision.view.grants.values() if not grant.final}:
            sight = world.sight(node)
            if sight.known and sight.cut:
                sites = sites or self._listening.sites()
                self._listening.await_([peer.node for peer in sites.peers(node)], node)

    def _moment_s(self, at_ms: int) -> float:
        return self._now_s() + max(0.0, (at_ms - self._now_ms()) / 1000)

    async def _keep(self, decided: Decided) -> None:
        changed = [each for each in decided.decisions if each.changed or each.lines]
        if not changed and not decided.asks:
            return
        now_ms = self._now_ms()

        def work(conn: Connection) -> Decided:
            kept = Decided(decisions=decided.decisions)
            for decision in changed:
                (kept.won if write(conn, decision) else kept.lost).append(decision)
            lines = [line for decision in kept.won for line in decision.lines]
            told = {node for decision in kept.won for node in decision.nodes}
            store.bump(conn, told | decided.asks)
            store.add_lines(conn, lines, now_ms)
            drafts = drafts_of(lines, now_ms)
            kept.gone, ends = forget_ended(conn, kept.won)
            store.add_lines(conn, ends, now_ms)
            kept.events = self._events.append(conn, drafts + drafts_of(ends, now_ms))
            return kept

        kept = await self._database.write(work)
        decided.won, decided.lost, decided.gone = kept.won, kept.lost, kept.gone
        self._events.announce(kept.events)

    def _settle(self, decided: Decided) -> None:
        """After the commit: books, leases and nodes follow; who was outrun looks again."""
        lost = {decision.view.instance.key for decision in decided.lost}
        if lost:
            self.counts.outrun += len(lost)
            self.look_now(sorted(lost))
        placed = False
        for decision in decided.won:
            placed = self._settle_one(decision) or placed
        for decision in decided.decisions:
            self._renewable(decision, decision.view.instance.key in lost)
        nodes = {node for decision in decided.won for node in decision.nodes} | decided.asks
        if nodes:
            self._delivery.want(nodes)
        if placed and self._waiting:
            self.freed()

    def _settle_one(self, decision: Decision) -> bool:
        for line in decision.lines:
            if line.state in ("placed", "replaced", "lost", "kept"):
                setattr(self.counts, line.state, getattr(self.counts, line.state) + 1)
            if line.state == "replaced":
                log.info("an instance goes on elsewhere", task=line.task, instance=line.instance)
        new = decision.after is not None and decision.after.epoch != decision.view.instance.epoch
        for grant in decision.grants:
            if grant.final:
                self._leases.ended(grant.key)
            elif new and grant.epoch == getattr(decision.after, "epoch", 0):
                # From now on its silence is listened for.
                self.look_at_node(grant.node, self._now_s() + 0.001)
        if decision.after is None:
            self._waiting.pop(decision.view.instance.key, None)
        return new

    def _renewable(self, decision: Decision, outrun: bool) -> None:
        """The current grant as it is in the database now is the one that is renewed."""
        view = decision.view
        after = view.instance if outrun else decision.after
        if after is None or outrun:
            return  # it is looked at again
        grants = {**view.grants, **{grant.epoch: grant for grant in decision.grants}}
        current = grants.get(after.epoch)
        if after.state != "active" or current is None or current.final or current.want != "run":
            return
        self._leases.open(current)

    async def _prune(self) -> None:
        now_s = self._now_s()
        if now_s - self._pruned_s < _PRUNE_EVERY_S:
            return
        self._pruned_s = now_s
        before_ms = self._now_ms() - round(self._settings.keep_grants_s * 1000)

        def work(conn: Connection) -> None:
            store.prune_grants(conn, before_ms)
            store.prune_history(conn, self._settings.keep_lines)

        await self._database.write(work)


def _heard(world: World, node: str) -> bool:
    sight = world.sight(node)
    return sight.known and sight.silent_since_s is None


def load(conn: Connection, keys: Sequence[Key]) -> Loaded:
    """The instances with their tasks, and the grants that have not ended or are the current one."""
    instances = store.load_instances(conn, keys)
    tasks = store.load_tasks(conn, {task for task, _ in instances})
    instances = {key: each for key, each in instances.items() if key[0] in tasks}
    current = [(*key, each.epoch) for key, each in instances.items() if each.epoch]
    grants: dict[Key, dict[int, Granted]] = {}
    for key, live in store.live_grants(conn, instances).items():
        grants[key] = {grant.epoch: grant for grant in live}
    for grant in store.load_grants(conn, current).values():
        grants.setdefault(grant.of, {})[grant.epoch] = grant
    revisions = {(g.task, g.revision) for each in grants.values() for g in each.values()}
    services = [name for name, task in tasks.items() if task.spec.kind == "service"]
    return Loaded(
        tasks=tasks,
        instances=instances,
        grants=grants,
        specs=store.specs(conn, revisions),
        runs=load_runs(conn, tasks),
        standing=load_standing(conn, services),
    )


def write(conn: Connection, decision: Decision) -> bool:
    """One decision, compared and set on its instance; False: somebody was quicker."""
    before, after = decision.view.instance, decision.after
    if not store.save_instance(conn, before, after or before):
        return False
    store.save_grants(conn, decision.grants)
    if after is None:
        store.remove_instances(conn, [before.key])
    return True


def forget_ended(conn: Connection, won: Sequence[Decision]) -> tuple[list[str], list[Line]]:
    """Tasks that are deleted, and of which nothing is left."""
    deleted = {
        decision.view.task.name
        for decision in won
        if decision.after is None and decision.view.task.wanted == "delete"
    }
    left = store.instances_of(conn, sorted(deleted))
    gone = [name for name in sorted(deleted) if not left.get(name)]
    for name in gone:
        store.remove_task(conn, name)
    return gone, [Line(task=name, state="deleted") for name in gone]
