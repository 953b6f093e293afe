"""Finds the places that decisions ask for; where there is none, those who have to give way.

It works on the pool in memory and decides nothing that is not written afterwards with compare-and-set.
"""

from collections.abc import Mapping
from dataclasses import replace

import orjson

from farshore_center.placement import (
    Choice,
    Demand,
    Placement,
    Preemption,
    RunTime,
    choose,
    fits,
    preempt,
)
from farshore_center.tasks.books import Books, Found
from farshore_center.tasks.budget import Budget
from farshore_center.tasks.claims import Claim, Claims, Victim, gave_way
from farshore_center.tasks.decision import Decision, grant, hold, leave, refused
from farshore_center.tasks.explaining import unchosen
from farshore_center.tasks.holdings import key_of
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.outlook import outlook_of
from farshore_center.tasks.records import Granted, Instance, Key, Task
from farshore_center.tasks.rounds import TaskCounts
from farshore_center.tasks.settings import TaskSettings
from farshore_center.tasks.waits import Plan, Waits

TRIES = 5
"""Searches for victims for one instance, each sparing those whose budget the one before would break."""

LOOK_S = 5.0
"""Who waits for a node that is full is looked at when something ends; if nothing does, not more often."""

DRAINED_LATER = "its node is drained; it waits until no more of its task is down than may be"


class Placing:
    """``waiting``: instances that no node takes now, or that had better wait for one that is full, with their
    priority. ``pushed``: instances that are to
    be looked at, since they have to give way, or lose a place that was kept for them."""

    def __init__(
        self,
        books: Books,
        claims: Claims,
        leases: Leases,
        settings: TaskSettings,
        counts: TaskCounts,
    ) -> None:
        self._books = books
        self._claims = claims
        self._leases = leases
        self._settings = settings
        self._counts = counts
        self._waits = Waits(books)
        self._tried_s: dict[Key, float] = {}
        self.waiting: dict[Key, int] = {}
        self.pushed: set[Key] = set()

    def place(
        self,
        decision: Decision,
        runs: Mapping[str, RunTime],
        budget: Budget,
        *,
        now_ms: int,
        now_s: float,
    ) -> Decision:
        """The decision with a grant, or with why there is none."""
        place, instance, task = decision.place, decision.after, decision.view.task
        if place is None or instance is None:
            self._no_place_wanted(decision)
            return decision
        key = instance.key
        self._waits.forget(key)
        claim = self._claims.release(key)
        found = self._books.find(task, instance, now_ms, runs)
        note = gave_way(decision.view.instance.decision)
        if note is not None:
            found.why["gave_way"] = note
        plan = self._plan(decision, found, now_ms) if claim is None else None
        if isinstance(found.choice, Choice):
            if plan is not None:
                return self._waiting(decision, found, plan, now_s)
            self._forget(key)
            if claim is not None and claim.why == "preempted":
                found.why["pushed_out"] = [
                    {"task": each.task, "instance": each.instance, "priority": each.priority}
                    for each in claim.victims
                ]
            if place.why == "drained":
                return _drained(decision, instance.epoch, budget)
            return self._granted(decision, found, found.choice, now_ms)
        self.waiting[key] = task.spec.priority
        self._counts.unplaceable += 1
        reason = str(found.choice)
        if place.why != "drained":
            claim = self._still(claim, task, found) or self._push(
                task, instance, found, budget, now_s
            )
            if claim is not None:
                self._waits.forget(key)
                self._claims.make(claim, found.demand)
                self.pushed |= {victim.key for victim in claim.victims}
                reason = f"{reason}; {claim.text}"
                found.why["claim"] = claim.document()
            elif plan is not None:
                reason = f"{reason}; {plan.text}"
                found.why["waits"] = plan.document
        return refused(decision, reason, orjson.dumps(found.why).decode())

    def restore(self, claim: Claim, demand: Demand) -> None:
        """A claim that an earlier center has stored."""
        self._claims.make(claim, demand)

    def forget(self, key: Key) -> None:
        """The instance is gone."""
        self._forget(key)
        self._claims.release(key)

    def take_pushed(self) -> set[Key]:
        pushed, self.pushed = self.pushed, set()
        return pushed

    def _plan(self, decision: Decision, found: Found, now_ms: int) -> Plan | None:
        """What still runs, or is lost, goes on as soon as it can."""
        instance, place = decision.after, decision.place
        if instance is None or place is None or place.why != "placed":
            return None
        run = decision.view.task.run
        return self._waits.look(instance, run, found.demand, found.policy, now_ms)

    def _waiting(self, decision: Decision, found: Found, plan: Plan, now_s: float) -> Decision:
        """It could go now, and had better wait."""
        task, key = decision.view.task, decision.view.instance.key
        self.waiting[key] = task.spec.priority
        why = {**unchosen(found.why), "decision": "waiting", "waits": plan.document}
        looked_at = _looked_at(decision, now_s + max(plan.wait_s, LOOK_S))
        return refused(looked_at, plan.text, orjson.dumps(why).decode(), state="waiting")

    def _forget(self, key: Key) -> None:
        self.waiting.pop(key, None)
        self._waits.forget(key)
        self._tried_s.pop(key, None)

    def _no_place_wanted(self, decision: Decision) -> None:
        """Nothing is kept for it any more, unless it is on its way there."""
        before, after = decision.view.instance, decision.after
        claim = self._claims.of(before.key)
        if after is None:
            self.forget(before.key)
            return
        self._forget(before.key)
        if claim is None:
            return
        current = {**decision.view.grants, **{each.epoch: each for each in decision.grants}}.get(
            after.epoch
        )
        leaving = current is not None and not current.final and current.why == "moved"
        if claim.why != "moved" or not (leaving or after.state == "pending"):
            self._claims.release(before.key)

    def _granted(self, decision: Decision, found: Found, choice: Choice, now_ms: int) -> Decision:
        why = orjson.dumps(found.why).decode()
        granted = grant(decision, choice.node, choice.gpus, now_ms, why)
        self._book(granted.grants[-1], found, decision.view.task)
        return granted

    def _book(self, new: Granted, found: Found, task: Task) -> None:
        self._books.book(new, found.demand, task.spec)
        self._books.expect(new, outlook_of(found.why, new.granted_ms))
        # Now, and not after the commit: nobody may think that it was granted by an earlier center.
        self._leases.granted(new)

    # Who has to give way

    def _still(self, claim: Claim | None, task: Task, found: Found) -> Claim | None:
        """The claim as it was, as long as it leads to a place: then nobody else is pushed out."""
        if claim is None or (claim.why, claim.priority) != ("preempted", task.spec.priority):
            return None
        gone = {f"{each.task}/{each.instance}/{each.epoch}" for each in claim.victims}
        with self._books.pool.lifted([*gone, *self._books.ending]):
            may = fits(self._books.pool, found.demand, claim.node, found.policy)
        return claim if may else None

    def _push(
        self, task: Task, instance: Instance, found: Found, budget: Budget, now_s: float
    ) -> Claim | None:
        settings, key = self._settings, instance.key
        highest = task.spec.priority - settings.preempt_distance
        if not settings.preempt or now_s < self._tried_s.get(key, now_s):
            return None
        if not any(held.priority <= highest for held in self._books.pool.placements.values()):
            return None
        with self._books.pool.lifted(self._books.ending):
            if isinstance(choose(self._books.pool, found.demand, found.policy), Choice):
                return None  # a place becomes free without that
            least = self._least(found, budget)
        if least is None:
            self._tried_s[key] = now_s + settings.look_again_s
            return None
        return self._claimed(key, task.spec.priority, least)

    def _least(self, found: Found, budget: Budget) -> Preemption | None:
        """The least harm that breaks no budget."""
        spared: set[str] = set()
        for _ in range(TRIES):
            least = preempt(
                self._books.pool,
                found.demand,
                found.policy,
                distance=self._settings.preempt_distance,
                spared=spared,
            )
            beyond = set() if least is None else self._beyond(least.victims, budget)
            if not beyond:
                return least
            spared |= beyond
        return None

    def _beyond(self, victims: tuple[Placement, ...], budget: Budget) -> set[str]:
        """Labels of those that are too many of their task, as far as its standing is known."""
        left: dict[str, int] = {}
        beyond = set()
        for held in victims:
            (task, _), epoch = key_of(held.task), int(held.task.rsplit("/", 1)[1])
            if not epoch:
                continue
            may = budget.left(task) if budget.knows(task) or not self._books.serves(task) else 0
            left[task] = left.get(task, may) - 1
            if left[task] < 0:
                beyond.add(held.task)
        return beyond

    def _claimed(self, key: Key, priority: int, least: Preemption) -> Claim:
        """A place that is kept for somebody weaker is given up at once, and nothing ends for that."""
        victims = []
        for held in least.victims:
            of, epoch = key_of(held.task), int(held.task.rsplit("/", 1)[1])
            if epoch:
                victims.append(Victim(of[0], of[1], epoch, held.priority))
            else:
                self._claims.release(of)
                self.pushed.add(of)
        return Claim(
            key=key,
            node=least.node,
            gpus=least.gpus,
            why="preempted",
            priority=priority,
            victims=tuple(victims),
        )


def _looked_at(decision: Decision, at_s: float) -> Decision:
    """The decision, looked at again then or before."""
    before_s = decision.look_s
    return replace(decision, look_s=at_s if before_s is None else min(before_s, at_s))


def _drained(decision: Decision, epoch: int, budget: Budget) -> Decision:
    """It leaves its node, as soon as the budget permits; who does not run yet takes nothing of it."""
    runs = decision.view.grants[epoch].state == "running"
    if runs and not budget.take(decision.view.task.name):
        return hold(decision, DRAINED_LATER)
    return leave(decision, epoch, "drained")
