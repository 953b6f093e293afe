"""What becomes of the instances of one round: each is decided in its turn, the highest priority first.

It works on what was loaded, on the pool and on leases in memory; nothing here waits.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet

import structlog

from farshore_center.tasks import engine
from farshore_center.tasks.agenda import Agenda, Look
from farshore_center.tasks.books import Books
from farshore_center.tasks.budget import Budget
from farshore_center.tasks.claims import Claims
from farshore_center.tasks.decision import Decision
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.listening import Listening
from farshore_center.tasks.placing import Placing
from farshore_center.tasks.records import Instance, Key
from farshore_center.tasks.resting import Resting
from farshore_center.tasks.rounds import Decided, Loaded
from farshore_center.tasks.settings import TaskSettings
from farshore_center.tasks.sites import Drain
from farshore_center.tasks.work import UNANSWERED, View, World

log = structlog.get_logger(__name__)

WAITING_AT_ONCE = 100
"""Instances without a place that are looked at when something becomes free."""


class Deciding:
    def __init__(
        self,
        books: Books,
        listening: Listening,
        leases: Leases,
        claims: Claims,
        placing: Placing,
        resting: Resting,
        agenda: Agenda,
        drains: Mapping[str, Drain],
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        settings: TaskSettings,
    ) -> None:
        self._books = books
        self._listening = listening
        self._leases = leases
        self._claims = claims
        self._placing = placing
        self._resting = resting
        self._agenda = agenda
        self._drains = drains
        self._now_ms = now_ms
        self._now_s = now_s
        self._settings = settings
        self._held: dict[str, dict[Key, None]] = {}

    def freed(self) -> None:
        """Something became free, or a node takes work: who waits for a place is looked at."""
        waiting = self._placing.waiting
        first = sorted(waiting, key=lambda key: -waiting[key])[:WAITING_AT_ONCE]
        if first:
            self._agenda.look_now(first)

    def refusal(self, node: str, *, online: bool) -> str:
        """Why nothing new may come to a node; empty: it may."""
        if node in self._drains:
            return "drained"
        return self._resting.refusal(node) if online else "silent"

    def weaker(self, loaded: Loaded) -> list[str]:
        """Services that might have to give way, whose standing is not loaded yet."""
        if not self._settings.preempt:
            return []
        highest = max(
            (
                loaded.tasks[key[0]].spec.priority
                for key, each in loaded.instances.items()
                if each.state == "pending" or _needs_place(loaded, each)
            ),
            default=-1,
        )
        weak = self._books.services_below(highest - self._settings.preempt_distance)
        return sorted(weak - loaded.standing.keys())

    def decide(self, loaded: Loaded) -> Decided:
        """No other task of the loop runs in here: what leases and the pool say stays true."""
        now_ms, now_s = self._now_ms(), self._now_s()
        sites = self._listening.sites()
        nodes = {grant.node for each in loaded.grants.values() for grant in each.values()}
        budget = Budget(loaded.standing)
        world = World(
            now_ms=now_ms,
            now_s=now_s,
            sights=sites.sights(nodes, self._drains),
            lease_over_s=self._leases.over_s,
            forgotten_s=self._leases.forgotten_s,
            may_disrupt=budget.take,
            push_on=self._claims.push_on,
            answer_s=self._settings.answer_s,
            slow_s=self._settings.slow_s,
        )
        decided = Decided()
        for key, instance in sorted(
            loaded.instances.items(), key=lambda item: -loaded.tasks[item[0][0]].spec.priority
        ):
            task, grants = loaded.tasks[key[0]], loaded.grants.get(key, {})
            specs = loaded.specs_of(key[0])
            if self._books.follow(key, grants.values(), specs, task.spec.priority):
                self.freed()
            self._books.expect_stored(instance, grants.values())
            view = View(task=task, instance=instance, grants=grants)
            decided.asks |= {
                grant.node
                for grant in grants.values()
                if grant.state == "lost" and _heard(world, grant.node)
            }
            refusals = budget.refusals
            decision = engine.decide(view, world, self._settings.rules)
            self._rest_unanswered(decision)
            runs = loaded.runs.get(task.name, {})
            decision = self._placing.place(decision, runs, budget, now_ms=now_ms, now_s=now_s)
            self._held_back(key, budget.refusals > refusals)
            for grant in decision.grants:
                self._books.note(grant)
            self._close(decision)
            self._watch(decision, world)
            decided.decisions.append(decision)
        for each in decided.decisions:
            if each.after is None and each.view.instance.state in ("pending", "active"):
                budget.gone(each.view.task.name)
        self._go_on({task for task, _ in loaded.instances}, budget)
        return decided

    def _held_back(self, key: Key, held: bool) -> None:
        """Whether the budget of its task keeps an instance from being ended."""
        if held:
            self._held.setdefault(key[0], {})[key] = None
        else:
            self._held.get(key[0], {}).pop(key, None)

    def _go_on(self, tasks: AbstractSet[str], budget: Budget) -> None:
        """As many of those that were held back as may be ended now are looked at again."""
        for task in sorted(tasks & self._held.keys()):
            waiting = self._held[task]
            for key in list(waiting)[: max(0, budget.left(task))]:
                del waiting[key]
                self._agenda.look_now([key])
            if not waiting:
                del self._held[task]

    def _rest_unanswered(self, decision: Decision) -> None:
        """Before a place is looked for: its node gets nothing new for a while."""
        for grant in decision.grants:
            if grant.state == "lost" and (grant.reason or "").startswith(UNANSWERED):
                log.warning("a node has not answered for a grant", node=grant.node)
                self._resting.unanswered(grant.node)
                self._books.refuse(grant.node, self.refusal(grant.node, online=True))
                self._agenda.look_at_node(grant.node)

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
            self._agenda.put(look, decision.look_s)
        if decision.look_ms is not None:
            self._agenda.put_at_ms(look, decision.look_ms)
        if key in self._placing.waiting:
            self._agenda.put(look, world.now_s + self._settings.look_again_s)
        for node in decision.awaited:
            self._listening.await_([node], node)
        sites = None
        for node in {grant.node for grant in decision.view.grants.values() if not grant.final}:
            sight = world.sight(node)
            if sight.known and sight.cut:
                sites = sites or self._listening.sites()
                self._listening.await_([peer.node for peer in sites.peers(node)], node)


def _needs_place(loaded: Loaded, instance: Instance) -> bool:
    """Whether it is at work as far as its row says, and has nothing at work any more."""
    grant = loaded.grants.get(instance.key, {}).get(instance.epoch)
    return instance.state == "active" and (grant is None or not grant.alive)


def _heard(world: World, node: str) -> bool:
    sight = world.sight(node)
    return sight.known and sight.silent_since_s is None
