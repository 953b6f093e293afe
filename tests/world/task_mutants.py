"""Rules of tasks, broken in the real agent and center on purpose: a world must notice each of them.

``MUTANTS``: name → how to break it, and the invariant that says so.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from farshore_center.tasks import decision, hearing, placing, store
from farshore_center.tasks import engine as center_engine
from farshore_center.tasks.leases import Leases
from farshore_center.tasks.sites import Sites
from farshore_center.tasks.work import Work
from farshore_edge.tasks import engine as edge_engine
from farshore_edge.tasks import renewing
from farshore_edge.tasks.beginning import Beginning
from farshore_edge.tasks.drivers.model import Exit
from farshore_edge.tasks.keeper import Keeper
from farshore_edge.tasks.lease import Lease, lease_of
from farshore_edge.tasks.orders import Orders
from farshore_edge.tasks.service import TaskService
from farshore_sim.world.faults import Fault, Plan
from farshore_sim.world.task_specs import spec_of
from farshore_sim.world.workshop import WorldWorkshop

Patch = pytest.MonkeyPatch

LONGER_S = 600.0


def _lost_at_once(patch: Patch) -> None:
    """No defect by itself: what is lost may hold a lease, and its lease is waited for."""
    patch.setattr(Work, "_lost_after_s", lambda _self, _grant: 1.0)


def granted_without_waiting_for_the_lease(patch: Patch) -> None:
    """Neither by its silence nor by its lease: each alone is enough, but for the drift of clocks."""
    _lost_at_once(patch)
    patch.setattr(Work, "free", lambda _self, _grant: True)


def leases_forgotten_by_a_center_that_begins(patch: Patch) -> None:
    _lost_at_once(patch)

    def over_s(self: Any, grant: Any) -> float:
        answered_s = self._answered_s.get(grant.key)
        return float("-inf") if answered_s is None else float(answered_s) + grant.lease_s

    patch.setattr(Leases, "over_s", over_s)


def end_of_the_lease_ignored_by_the_node(patch: Patch) -> None:
    def longer(spec: Any, asked_s: float) -> Lease:
        lease = lease_of(spec, asked_s)
        return Lease(
            stop_s=lease.stop_s + LONGER_S,
            kill_s=lease.kill_s + LONGER_S,
            end_s=lease.end_s + LONGER_S,
        )

    patch.setattr(renewing, "lease_of", longer)


def nobody_ends_it_when_its_agent_is_dead(patch: Patch) -> None:
    patch.setattr(WorldWorkshop, "_look", lambda _self, _run: None)


def lease_counted_from_the_answer(patch: Patch) -> None:
    whole: Any = renewing.Renewing.take

    def take(self: Any, payload: bytes) -> None:
        with patch.context() as during:
            during.setattr(
                renewing, "lease_of", lambda spec, _asked_s: lease_of(spec, self._boot_s())
            )
            whole(self, payload)

    patch.setattr(renewing.Renewing, "take", take)


def begun_without_a_lease(patch: Patch) -> None:
    async def leased(self: Any) -> bool:
        return not self.ends.is_set()

    patch.setattr(Orders, "leased", leased)
    nobody_ends_it_when_its_agent_is_dead(patch)


def result_accepted_without_comparing_the_epoch(patch: Patch) -> None:
    whole: Any = hearing._ended

    def ended(heard: Any, word: Any, at_ms: int, *, batch: bool) -> Any:
        current = replace(heard.instance, epoch=heard.grant.epoch)
        found = whole(replace(heard, instance=current), word, at_ms, batch=batch)
        return replace(found, instance=replace(found.instance, epoch=heard.instance.epoch))

    patch.setattr(hearing, "_ended", ended)


def result_accepted_again(patch: Patch) -> None:
    whole: Any = hearing._ended

    def ended(heard: Any, word: Any, at_ms: int, *, batch: bool) -> Any:
        open_again = replace(heard.instance, state="active", epoch=heard.grant.epoch)
        return whole(replace(heard, instance=open_again), word, at_ms, batch=batch)

    patch.setattr(hearing, "_ended", ended)


def grants_of_the_lost_future_forgotten(patch: Patch) -> None:
    patch.setattr(Work, "known", lambda _self: True)


def silent_site_ignored(patch: Patch) -> None:
    patch.setattr(Sites, "cut", lambda _self, _node: False)


def lost_work_not_replaced(patch: Patch) -> None:
    patch.setattr(center_engine, "_lost", lambda _work, _current: None)


def documents_not_sent_again_after_a_restart(patch: Patch) -> None:
    """Neither at the center's start nor at the birth of a node."""
    from farshore_center.tasks.delivery import Delivery

    patch.setattr(Work, "_await_answer", lambda *_: None)
    patch.setattr(store, "unheard", lambda _conn: [])
    patch.setattr(Delivery, "arrived", lambda _self, _node, _rev: None)


def others_not_stopped(patch: Patch) -> None:
    patch.setattr(center_engine, "_stop_others", lambda _work: None)
    patch.setattr(decision, "_superseded", lambda _decided, _epoch: ())


def epoch_not_durable_at_the_node(patch: Patch) -> None:
    patch.setattr(edge_engine.Plan, "highest", lambda _self: {})


def epochs_that_fall(patch: Patch) -> None:
    whole: Any = decision.grant

    def grant(decided: Any, node: str, gpus: Any, now_ms: int, why: str | None) -> Any:
        found = whole(decided, node, gpus, now_ms, why)
        before = decided.after.last_epoch
        new = replace(found.grants[-1], epoch=before - 1 if before else now_ms)
        after = replace(found.after, epoch=new.epoch, last_epoch=new.epoch)
        return replace(found, after=after, grants=(*found.grants[:-1], new))

    for user in (decision, center_engine, placing):
        patch.setattr(user, "grant", grant)
    patch.setattr(hearing, "beyond", lambda instance, _highest: instance)
    _every_epoch_taken(patch)


def _every_epoch_taken(patch: Patch) -> None:
    whole: Any = edge_engine.plan

    def plan(books: Any, *args: Any, **named: Any) -> Any:
        return whole(replace(books, highest=dict.fromkeys(books.highest, 0)), *args, **named)

    patch.setattr(edge_engine, "plan", plan)


def what_died_is_not_begun_again(patch: Patch) -> None:
    async def waited(self: Any) -> bool:
        await self.orders.ends.wait()
        return False

    patch.setattr(Keeper, "_waited", waited)


def agent_ends_what_it_finds(patch: Patch) -> None:
    """Not a rule of the center's: a program that runs is no reason to begin it a second time."""
    patch.setattr(Beginning, "taken_up", _nothing_taken_up)

    async def sweep(_self: TaskService) -> None:
        return None

    patch.setattr(TaskService, "_sweep", sweep)


async def _nothing_taken_up(self: Any) -> None:
    account = self._account
    if account.kept.state in ("starting", "running"):
        now_ms = self._office.now_ms()
        account.go_on(edge_engine.after_end(account.kept, Exit(), run_s=0.0, now_ms=now_ms))


def what_was_begun_anew_forgotten_by_a_center_that_begins(patch: Patch) -> None:
    patch.setattr(store, "begun_anew", lambda _conn: [])


def nowhere_rather_than_where_it_failed(patch: Patch) -> None:
    patch.setattr("farshore_center.tasks.books.replace", lambda instance, **_changes: instance)


def _put(
    at_s: float, kind: str = "service", exit_code: int | None = None, **wanted: object
) -> Fault:
    """A task of one instance with this contract, and a program that ends so and soon."""
    for number in range(1000):
        fault = Fault(at_s=at_s, kind="task", a=0.1, b=number / 1000)
        spec = spec_of(fault)
        single = spec["kind"] == kind and spec["count"] == 1 and "cron" not in spec
        ends = spec["run"].get("exit_code") == exit_code and spec["run"].get("run_s", 0.0) < 30
        if single and ends and wanted.items() <= spec["disconnect"].items():
            return fault
    raise AssertionError(f"no task has {wanted}")


LEASED = _put(30.0, on_disconnect="stop", lost_after_s=90.0, replace=True)
KEPT = _put(
    30.0, on_disconnect="keep", lost_after_s=30.0, replace=True, on_reconnect="keep_replacement"
)


def _plan(*faults: Fault, nodes: int = 2, task: Fault = LEASED) -> Plan:
    """The task is put on node-1 first; each node is a site of its own."""
    return Plan(
        seed=1,
        nodes=nodes,
        hours=0.1,
        broker="external",
        sites=nodes,
        heartbeat_s=5.0,
        faults=(task, *faults),
    )


def shims_begin_without_a_look_at_the_lease(patch: Patch) -> None:
    patch.setattr(WorldWorkshop, "over", lambda _self, _name: False)


PLANS: dict[Callable[[Patch], None], Plan] = {
    # The center dies and comes back while the node that has the lease can't be reached.
    leases_forgotten_by_a_center_that_begins: _plan(
        Fault(at_s=100.0, kind="partition", node=0, for_s=200.0, a=0.1, b=0.9),
        Fault(at_s=101.0, kind="center_crash", for_s=4.0, a=0.2, b=0.5),
    ),
    # Answers arrive half a minute late, and then nothing of the node arrives any more.
    lease_counted_from_the_answer: _plan(
        Fault(at_s=100.0, kind="one_way", node=0, for_s=40.0, a=0.9, b=0.9),
        Fault(at_s=112.0, kind="one_way", node=0, for_s=200.0, a=0.1, b=0.9),
    ),
    # The agent has its lease and is frozen in the moment in which it begins the program.
    shims_begin_without_a_look_at_the_lease: _plan(
        Fault(at_s=30.22, kind="frozen", node=0, for_s=150.0, a=0.9)
    ),
    # Node-1 is drained, node-2 has the work and is cut off, the backup knows of neither.
    grants_of_the_lost_future_forgotten: _plan(
        Fault(at_s=110.0, kind="drain", node=0, for_s=1000.0, a=0.1),
        Fault(at_s=139.0, kind="partition", node=1, for_s=200.0, a=0.1, b=0.9),
        Fault(at_s=140.0, kind="center_restored", for_s=35.0, a=0.1, b=0.01),
        nodes=3,
    ),
    # A batch is begun anew while a restored center waits for a person, and the center dies before that.
    what_was_begun_anew_forgotten_by_a_center_that_begins: _plan(
        Fault(at_s=120.0, kind="center_restored", for_s=5.0, a=0.1, b=0.2),
        Fault(at_s=150.0, kind="task_restart", a=0.1),
        Fault(at_s=160.0, kind="center_crash", for_s=4.0, a=0.2, b=0.5),
        task=_put(30.0, "batch", 0),
    ),
    # It fails on two nodes, and the third one is gone for good.
    nowhere_rather_than_where_it_failed: _plan(
        Fault(at_s=25.0, kind="retire", node=2), nodes=3, task=_put(30.0, "batch", 1)
    ),
    # A node that comes back goes on with what it had; this one does not.
    lost_work_not_replaced: _plan(Fault(at_s=100.0, kind="retire", node=0)),
    # The only node is cut off when it is given its first work, and the center dies before it is back.
    documents_not_sent_again_after_a_restart: _plan(
        Fault(at_s=29.9, kind="partition", node=0, for_s=12.0, a=0.9, b=0.01),
        Fault(at_s=30.5, kind="center_crash", for_s=2.0, a=0.1, b=0.5),
        nodes=1,
    ),
    # A node is replaced while it can't be reached, and comes back with what it had.
    others_not_stopped: _plan(
        Fault(at_s=100.0, kind="partition", node=0, for_s=200.0, a=0.01, b=0.01), task=KEPT
    ),
}
"""What takes more seeds than a test may: the plan that finds it, and holds without the defect."""

MUTANTS: dict[Callable[[Patch], None], str] = {
    granted_without_waiting_for_the_lease: "I10",
    end_of_the_lease_ignored_by_the_node: "I10",
    nobody_ends_it_when_its_agent_is_dead: "I10",
    begun_without_a_lease: "I10",
    agent_ends_what_it_finds: "I10",
    result_accepted_without_comparing_the_epoch: "I9",
    result_accepted_again: "I9",
    silent_site_ignored: "I11",
    what_died_is_not_begun_again: "I12",
    epoch_not_durable_at_the_node: "I13",
    epochs_that_fall: "I13",
}
