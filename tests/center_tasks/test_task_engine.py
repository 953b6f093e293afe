"""What becomes of an instance: one look of the engine at a time, and the rules of sites and leases."""

from dataclasses import replace
from typing import Any

import pytest
from center_tasks.engine_world import RULES, at_work, contract, granted, seen, spec, task, world
from farshore_center.tasks import engine
from farshore_center.tasks.claims import Push
from farshore_center.tasks.engine import decide
from farshore_center.tasks.leases import Leases, over_s
from farshore_center.tasks.records import Instance
from farshore_center.tasks.sites import Drain, Ear, Sight, Sites
from farshore_center.tasks.work import View
from farshore_protocol.tasks import Disconnect, LeaseRequest
from hypothesis import given
from hypothesis import strategies as st

SILENT = Sight(silent_since_s=0.0)
CUT = Sight(silent_since_s=0.0, cut=True)


def test_what_runs_on_a_node_that_is_heard_is_left_alone() -> None:
    assert not decide(seen(granted()), world(), RULES).changed


def test_nothing_is_lost_before_its_time_and_the_look_is_due_then() -> None:
    found = decide(seen(granted()), world(9.0, {"n1": SILENT}), RULES)
    assert (found.changed, found.look_s) == (False, 10.0)


def test_a_lost_one_is_replaced_and_the_original_is_told_to_end() -> None:
    found = decide(seen(granted()), world(10.0, {"n1": SILENT}), RULES)
    assert found.place is not None
    assert found.place.why == "replaced"
    placed = engine.grant(found, "n2", (), 10_000, None)
    old, new = placed.grants
    assert (old.state, old.want, old.why) == ("lost", "stop", "superseded")
    assert (new.node, new.epoch, new.attempt) == ("n2", 10_000, 1)
    assert placed.after is not None
    assert (placed.after.epoch, placed.after.last_epoch) == (10_000, 10_000)


@pytest.mark.parametrize(
    ("of", "sight"),
    [
        (contract(), CUT),
        (contract("stop"), CUT),
        (contract(replace=False), SILENT),
    ],
    ids=["a silent site", "a silent site, with a lease", "the contract says no"],
)
def test_it_is_lost_and_nothing_is_moved(of: Disconnect, sight: Sight) -> None:
    grant = granted(lease_s=10.0 if of.on_disconnect == "stop" else 0.0)
    found = decide(seen(grant, of=spec(disconnect=of)), world(1e6, {"n1": sight}), RULES)
    assert found.place is None
    assert [each.state for each in found.grants] == ["lost"]
    assert found.after is not None
    assert found.after.reason


def test_a_silent_site_is_moved_where_its_contract_says_so() -> None:
    of = spec(disconnect=contract(silent_site="replace"))
    assert decide(seen(granted(), of=of), world(1e3, {"n1": CUT}), RULES).place is not None


def test_the_original_takes_its_place_back_where_the_contract_says_so() -> None:
    of = spec(disconnect=contract(on_reconnect="keep_original"))
    original, replacement = granted(), granted(epoch=9, node="n2")
    view = seen(original, replacement, of=of, instance=at_work(epoch=9, last_epoch=9))
    found = decide(view, world(), RULES)
    assert found.after is not None
    assert (found.after.epoch, found.after.last_epoch) == (5, 9)
    assert [(each.epoch, each.want) for each in found.grants] == [(9, "stop")]
    again = engine.grant(replace(found, place=engine.Place("placed")), "n3", (), now_ms=1, why=None)
    assert again.grants[-1].epoch == 10


def test_the_replacement_stays_by_default() -> None:
    view = seen(granted(), granted(epoch=9, node="n2"), instance=at_work(epoch=9, last_epoch=9))
    found = decide(view, world(), RULES)
    assert [(each.epoch, each.want, each.why) for each in found.grants] == [
        (5, "stop", "superseded")
    ]


PUSH = Push(
    epoch=5, why="preempted", state="preempted", reason="high/0 needs it", document='{"by":1}'
)


def test_who_is_pushed_out_is_told_to_end_and_says_why() -> None:
    found = decide(
        seen(granted()), world(push_on=lambda _key, epoch: PUSH if epoch == 5 else None), RULES
    )
    assert [(each.want, each.why) for each in found.grants] == [("stop", "preempted")]
    assert found.after is not None
    assert (found.after.decision, found.after.reason) == (PUSH.document, PUSH.reason)
    assert [line.state for line in found.lines] == ["preempted"]
    ended = replace(found.grants[0], state="stopped")
    again = decide(seen(ended, instance=found.after), world(), RULES)
    assert again.place == engine.Place("placed")


@pytest.mark.parametrize(
    ("push", "waits"),
    [(PUSH, True), (replace(PUSH, why="moved", state="rebalanced"), False)],
    ids=["preempted", "moved"],
)
def test_nobody_gives_way_beyond_the_budget_of_its_service(push: Push, waits: bool) -> None:
    more: dict[str, Any] = {
        "push_on": lambda _key, _epoch: push,
        "may_disrupt": lambda _task: False,
    }
    found = decide(seen(granted()), world(**more), RULES)
    assert not found.grants
    assert [line.state for line in found.lines] == (["waiting"] if waits else [])
    batch = decide(seen(granted(), of=spec(kind="batch")), world(**more), RULES)
    assert [each.want for each in batch.grants] == ["stop"]


def test_a_grant_without_an_answer_is_lost_and_its_node_avoided() -> None:
    grant = granted(state="granted", granted_ms=10_000)
    here = {"n1": Sight(here_since_s=0.0)}
    before = decide(seen(grant), world(99.9, here), RULES)
    assert (before.grants, before.look_s) == ((), 100.0)
    found = decide(seen(grant), world(100.0, here), RULES)
    assert [each.state for each in found.grants] == ["lost"]
    assert found.after is not None
    assert found.after.avoid == ("n1",)
    assert found.place == engine.Place("replaced")


def test_a_node_with_rare_heartbeats_is_not_given_up_before_it_is_heard_again() -> None:
    """It may be cut off: nothing was heard of it since it should have answered."""
    grant = granted(state="granted", granted_ms=10_000)
    unheard = decide(seen(grant), world(170.0, {"n1": Sight(heard_s=99.9)}), RULES)
    assert (unheard.grants, unheard.place, set(unheard.awaited)) == ((), None, {"n1"})
    heard = decide(seen(grant), world(170.0, {"n1": Sight(heard_s=100.0)}), RULES)
    assert [each.state for each in heard.grants] == ["lost"]
    assert not heard.awaited


def test_a_node_that_is_drained_keeps_its_batch_until_the_deadline() -> None:
    drained = {"n1": Sight(drain=Drain(until_ms=200_000))}
    view = seen(granted(), of=spec(kind="batch"))
    assert not [
        each for each in decide(view, world(100, drained), RULES).grants if each.want == "stop"
    ]
    found = decide(view, world(200, drained), RULES)
    assert [(each.want, each.why) for each in found.grants] == [("stop", "drained")]


def test_a_service_of_a_drained_node_leaves_only_when_another_takes_it() -> None:
    found = decide(seen(granted()), world(sights={"n1": Sight(drain=Drain())}), RULES)
    assert found.place == engine.Place("drained")
    assert engine.leave(found, 5, "drained").grants[0].want == "stop"
    assert not engine.refused(found, "none of 3 nodes", None).grants


def test_a_batch_that_fails_is_tried_again_elsewhere_and_then_has_failed() -> None:
    view = seen(granted(state="failed", reason="exit 1"), of=spec(kind="batch"))
    first = decide(view, world(), RULES)
    assert first.after is not None
    assert (first.after.state, first.after.failures, first.after.avoid) == ("pending", 1, ("n1",))
    assert first.look_ms == 101_000
    last = decide(replace(view, instance=replace(view.instance, failures=2)), world(), RULES)
    assert last.after is not None
    assert last.after.state == "failed"


@pytest.mark.parametrize(("kind", "state"), [("batch", "failed"), ("service", "pending")])
def test_a_long_run_before_a_failure_is_calm_of_a_service_alone(kind: str, state: str) -> None:
    """A batch that needs an hour to fail has failed all the same."""
    grant = granted(state="failed", granted_ms=0, ended_ms=3_600_000)
    view = seen(grant, of=spec(kind=kind), instance=at_work(failures=2))
    found = decide(view, world(3600.0), RULES)
    assert found.after is not None
    assert (found.after.state, found.after.failures) == (state, 3 if kind == "batch" else 1)


def test_a_task_that_is_deleted_goes_when_its_leases_are_over() -> None:
    lost = granted(state="lost", lease_s=10.0)
    view = seen(lost, of=spec(disconnect=contract("stop")), wanted="delete")
    held = decide(view, world(lease_over_s=lambda _g: 101.0), RULES)
    assert held.after is not None
    assert held.look_s == 101.0
    gone = decide(view, world(102.0, lease_over_s=lambda _g: 101.0), RULES)
    assert gone.after is None
    assert gone.grants[0].state == "withdrawn"


def test_a_deadline_that_has_passed_fails_what_waits() -> None:
    view = View(
        task=task(spec(kind="batch", deadline_s=5.0), asked_ms=0),
        instance=Instance(task="t", instance=0),
        grants={},
    )
    found = decide(view, world(6.0), RULES)
    assert found.after is not None
    assert (found.after.state, found.place) == ("failed", None)


@pytest.mark.parametrize("state", ["lost", "running"])
def test_no_place_is_asked_for_while_a_lease_may_hold(state: str) -> None:
    of = spec(disconnect=contract("stop"))
    lost = granted(state="lost", lease_s=10.0)
    gone = granted(state=state, lease_s=10.0, want="stop", why="drained")
    for view in (
        seen(lost, of=of),
        seen(gone, of=of, instance=at_work(state="pending", epoch=0)),
    ):
        sights = {"n1": SILENT}
        held = decide(view, world(100.0, sights, lease_over_s=lambda _g: 101.0), RULES)
        assert (held.place, held.look_s) == (None, 101.0)
        over = decide(view, world(101.0, sights, lease_over_s=lambda _g: 101.0), RULES)
        assert over.place is not None


def test_a_center_that_begins_waits_for_leases_that_it_does_not_know() -> None:
    leases = Leases(now_s=lambda: 100.0)
    assert leases.forgotten_s(10.0) == float("-inf")
    leases.used = True
    waiting = at_work(state="pending", epoch=0)
    for kind, waits in (("stop", True), ("keep", False)):
        view = seen(of=spec(disconnect=contract(kind)), instance=waiting)
        held = decide(view, world(100.0, forgotten_s=leases.forgotten_s), RULES)
        assert (held.place is None) == waits
        assert held.look_s == (over_s(100.0, 10.0) if waits else None)
        over = world(over_s(100.0, 10.0), forgotten_s=leases.forgotten_s)
        assert decide(view, over, RULES).place is not None


# Sites


def ear(node: str, heard_s: float, **more: Any) -> Ear:
    defaults: dict[str, Any] = {"group": "site", "heard_s": heard_s, "heartbeat_s": 1.0}
    return Ear(node=node, **defaults | more)


@given(
    cut_s=st.floats(10, 20),
    phases=st.lists(st.floats(0, 1), min_size=2, max_size=6),
    later=st.floats(0, 60),
    wills=st.lists(st.floats(0, 30), min_size=6, max_size=6),
)
def test_the_nodes_behind_a_cut_link_are_never_taken_for_dead(
    cut_s: float, phases: list[float], later: float, wills: list[float]
) -> None:
    """Whenever each was heard last before the cut, and whenever its will came after it."""
    now_s = cut_s + later
    ears = {}
    for number, phase in enumerate(phases):
        will_s = cut_s + wills[number]
        told_s = will_s if will_s <= now_s else None
        ears[f"n{number}"] = ear(f"n{number}", cut_s - phase, online=told_s is None, told_s=told_s)
    sites = Sites(ears, now_s)
    assert all(sites.sight(node).silent_since_s is None or sites.cut(node) for node in ears)


def test_a_node_that_died_alone_is_no_cut_link() -> None:
    dead = ear("a", 49.2, online=False, told_s=50.0)
    assert not Sites({"a": dead, "b": ear("b", 51.0)}, 52.0).cut("a")
    assert Sites({"a": dead, "b": ear("b", 49.5)}, 50.2).cut("a")
    assert not Sites({"a": replace(dead, group="")}, 52.0).cut("a")


# Leases


def test_a_lease_that_was_answered_by_an_earlier_center_counts_from_the_start() -> None:
    leases = Leases(now_s=lambda: 50.0)
    assert leases.over_s(granted(lease_s=10.0)) == over_s(50.0, 10.0)


def test_what_was_never_answered_is_free_at_once_and_what_was_closed_is_not_renewed() -> None:
    now = [50.0]
    leases = Leases(now_s=lambda: now[0])
    grant = granted(lease_s=10.0)
    leases.granted(grant)
    assert leases.over_s(grant) < 0
    leases.open(grant)
    now[0] = 60.0
    ask = LeaseRequest(boot="b", up_ms=1, held=(("t", 0, 5), ("t", 0, 6)))
    assert b'"renewed":[["t",0,5]]' in leases.answer("n1", ask).payload
    assert b'"renewed":[]' in leases.answer("n2", ask).payload
    leases.close(("t", 0))
    now[0] = 61.0
    assert b'"renewed":[]' in leases.answer("n1", ask).payload
    assert leases.over_s(grant) == over_s(60.0, 10.0)
