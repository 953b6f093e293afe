"""The loop of tasks: load, decide, persist, act. Woken by what happens; moments wait in one heap.

A decision is made on what a reader saw and on the pool in memory, and written with compare-and-set: whoever
loses looks again. Before anything is written that ends a grant, its lease is closed.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random

import structlog

from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events import EventLog
from farshore_center.tasks import rounds
from farshore_center.tasks.agenda import BALANCE, Agenda, Look
from farshore_center.tasks.balancing import Balancing
from farshore_center.tasks.books import Books
from farshore_center.tasks.budget import load_standing
from farshore_center.tasks.claims import Claims
from farshore_center.tasks.cron import begin_due
from farshore_center.tasks.deciding import Deciding
from farshore_center.tasks.decision import Decision
from farshore_center.tasks.delivery import Delivery
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.listening import Listening
from farshore_center.tasks.placing import Placing
from farshore_center.tasks.pruning import Pruning
from farshore_center.tasks.records import Granted, Key
from farshore_center.tasks.resting import Resting
from farshore_center.tasks.rounds import Decided, TaskCounts
from farshore_center.tasks.settings import TaskSettings
from farshore_center.tasks.settling import Settling
from farshore_center.tasks.sites import Drain
from farshore_center.tasks.taking_over import found, take_over

log = structlog.get_logger(__name__)

_HELD_S = 1.0


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
        rng: Random,
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
        self._drains: dict[str, Drain] = {}
        self._claims = Claims(books.pool)
        self._agenda = Agenda(now_ms=now_ms, now_s=now_s)
        self.counts = TaskCounts()
        self._placing = Placing(books, self._claims, leases, settings, self.counts)
        self._resting = Resting(now_s=now_s)
        self._deciding = Deciding(
            books,
            listening,
            leases,
            self._claims,
            self._placing,
            self._resting,
            self._agenda,
            self._drains,
            now_ms=now_ms,
            now_s=now_s,
            settings=settings,
        )
        self._balancing = Balancing(books, self._claims, rng, settings)
        self._pruning = Pruning(database, now_ms=now_ms, now_s=now_s, settings=settings)
        self._settling = Settling(leases, delivery, self._agenda, self.counts, self._granted)

    # What happens elsewhere

    def look_now(self, keys: Iterable[Key]) -> None:
        self._agenda.look_now(keys)

    def look_at_node(self, node: str) -> None:
        self._agenda.look_at_node(node)

    def occurs(self, task: str, next_ms: int) -> None:
        """A task with a cron rule is due then."""
        self._agenda.occurs(task, next_ms)

    def freed(self) -> None:
        """Something became free, or a node takes work: who waits for a place is looked at."""
        self._deciding.freed()

    def rejected(self, node: str, code: str | None, reason: str) -> None:
        """A node has rejected a grant."""
        if self._resting.rejected(node, code, reason):
            log.warning("a node rejects what it is given", node=node, reason=reason)
            self.look_at_node(node)

    def well(self, node: str) -> None:
        """Something runs there as it should."""
        self._resting.well(node)

    def drained(self, node: str, drain: Drain | None) -> None:
        if drain is None:
            self._drains.pop(node, None)
        else:
            self._drains[node] = drain
        self.look_at_node(node)

    def forget(self, node: str) -> None:
        """It is not part of the fleet any more."""
        self._drains.pop(node, None)
        self._resting.well(node)
        self._books.refuse(node, "")

    def is_drained(self, node: str) -> bool:
        return node in self._drains

    def wake(self) -> None:
        """Looks at the clock."""
        self._agenda.wake()

    @property
    def waiting(self) -> int:
        """Instances that no node takes now."""
        return len(self._placing.waiting)

    # The loop

    async def start(self) -> None:
        """Takes over what the database has; before the loop and before any node is heard."""
        of = await found(self._database)
        self._drains.update(of.drains)
        self._books.changed(None)  # who asked before may have met a registry that was not read yet
        await self._books.refresh()
        self._leases.used = bool(self._books.nodes())
        for node in self._books.nodes():
            self._books.refuse(node, self._deciding.refusal(node, online=False))
        self.look_now(sorted({grant.of for grant in of.live} | set(of.unsettled)))
        for node in sorted({grant.node for grant in of.live}):
            self.look_at_node(node)
        await take_over(self._database, self._books, self._leases, self._placing, of, self._now_ms)
        for task, next_ms in of.occurrences:
            self.occurs(task, next_ms)
        if self._settings.rebalance:
            self._agenda.put(BALANCE, self._now_s() + self._settings.rebalance_every_s)

    async def run(self) -> None:
        """Until it is cancelled. A database that fails is tried again: what is due stays due."""
        while True:
            self._agenda.begin()
            try:
                await self.round()
            except DatabaseError as exc:
                log.error("tasks can't be decided now", reason=str(exc))
                await asyncio.sleep(self._settings.retry_s)
                continue
            await self._agenda.wait(_HELD_S if self._held() else None)

    async def round(self) -> None:
        """Everything that is due now."""
        if self._held():
            return
        self._delivery.want(await self._pruning.prune())
        while due := self._agenda.take_due(self._settings.batch):
            self.counts.rounds += 1
            keys = [(name, number) for kind, name, number in due if kind == "instance"]
            tasks = [name for kind, name, _ in due if kind == "task"]
            for kind, name, _ in due:
                if kind == "node" or (kind == "ear" and not self._hears(name)):
                    keys += self._node(name)
            try:
                await self._begin(tasks)
                if BALANCE in due:
                    await self._balance()
                await self._look(list(dict.fromkeys(keys)))
            except DatabaseError:
                self._again(due, keys)
                raise

    def _again(self, due: Sequence[Look], keys: Iterable[Key]) -> None:
        for look in due:
            self._agenda.put(look, self._now_s())
        self.look_now(keys)

    # Nodes

    def _node(self, node: str) -> list[Key]:
        """The instances to look at because of what was heard, or not heard, of a node."""
        silent = self._listening.silent(node)
        refusal = self._deciding.refusal(node, online=not silent)
        opened = self._books.refuse(node, refusal) and not refusal
        if node not in self._books.pool:
            return []
        keys = self._books.on(node)
        if keys and not silent:
            self._listen(node)
        if refusal and (until_s := self._resting.until_s(node)) is not None:
            self._agenda.put(("node", node, 0), until_s)
        if silent:
            self._listening.await_([node], node)
        elif opened or not keys:
            self.freed()
        return keys

    def _listen(self, node: str) -> None:
        """From now on its silence is listened for."""
        if (due_s := self._listening.overdue_s(node)) is not None:
            self._agenda.listen(node, due_s)

    def _granted(self, grant: Granted) -> None:
        """It was: its node is listened for, and looked at when it should have answered."""
        self._listen(grant.node)
        self._agenda.put(("instance", *grant.of), self._now_s() + self._settings.answer_s)

    def _hears(self, node: str) -> bool:
        """Whether it has spoken since its silence was waited for: then nothing there is looked at."""
        if self._listening.silent(node):
            return False
        if node in self._books.pool and self._books.on(node):
            self._listen(node)
        return True

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

    # Balance

    async def _balance(self) -> None:
        self._agenda.put(BALANCE, self._now_s() + self._settings.rebalance_every_s)
        await self._books.refresh()
        keys = self._balancing.candidates()
        loaded = await self._database.read(lambda conn: rounds.load(conn, keys))
        await self._books.prepare(task.spec for task in loaded.tasks.values())
        self.look_now(self._balancing.moves(loaded, self._drains, self._now_ms()))

    # Instances

    async def _look(self, keys: Sequence[Key]) -> None:
        if not keys:
            return
        await self._books.refresh()
        loaded = await self._database.read(lambda conn: rounds.load(conn, keys))
        if names := self._deciding.weaker(loaded):
            loaded.standing |= await self._database.read(lambda conn: load_standing(conn, names))
        for key in keys:
            if key not in loaded.instances:
                self._placing.forget(key)
        await self._books.prepare(task.spec for task in loaded.tasks.values())
        decided = self._deciding.decide(loaded)
        await self._keep(decided)
        self._settling.settle(decided)
        self.look_now(sorted(self._placing.take_pushed()))
        if self._release(decided.won) or (self._placing.waiting and any(map(_placed, decided.won))):
            self.freed()

    def _release(self, won: Sequence[Decision]) -> bool:
        """What was decided to have ended holds nothing any more: nobody looks again at an instance that is
        gone. Whether something became free."""
        released = False
        for decision in won:
            grants = {**decision.view.grants, **{each.epoch: each for each in decision.grants}}
            left = () if decision.after is None else grants.values()
            released |= self._books.follow(decision.view.instance.key, left, {})
        return released

    async def _keep(self, decided: Decided) -> None:
        if not decided.asks and not any(each.changed or each.lines for each in decided.decisions):
            return
        now_ms = self._now_ms()
        kept = await self._database.write(
            lambda conn: rounds.keep(conn, decided, self._events, now_ms, self._books.pool)
        )
        decided.won, decided.lost, decided.gone = kept.won, kept.lost, kept.gone
        self._events.announce(kept.events)


def _placed(decision: Decision) -> bool:
    return decision.after is not None and decision.after.epoch != decision.view.instance.epoch
