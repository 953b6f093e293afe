"""What a node decides about its tasks: for any documents, any ends, any leases."""

from dataclasses import replace
from typing import Any

import pytest
from farshore_edge.tasks import engine
from farshore_edge.tasks.drivers.model import DriverError, Exit
from farshore_edge.tasks.lease import lease_of, margin_s, renew_every_s
from farshore_edge.tasks.model import Books, Kept, id_of, kept_of
from farshore_protocol.tasks import NODE_TASK, Disconnect, Grant, TaskSpec
from farshore_protocol.tasks.spec import Restart
from hypothesis import given
from hypothesis import strategies as st

SPEC = TaskSpec(kind="service", driver="process")


def grant(task: str = "a", epoch: int = 1, want: Any = "run", spec: TaskSpec = SPEC) -> Grant:
    return Grant(task=task, instance=0, attempt=1, epoch=epoch, spec=spec, want=want)


GRANTS = st.builds(
    grant, st.sampled_from("abc"), st.integers(1, 6), st.sampled_from(["run", "stop"])
)
KEPT = st.builds(
    lambda g, state: Kept(grant=g, state=state), GRANTS, st.sampled_from(sorted(NODE_TASK.table))
)


def books(rev: int, kept: list[Kept], more: dict[str, int]) -> Books:
    """As they can come to be: the highest epoch is never below what is kept."""
    highest = dict(more)
    for each in kept:
        highest[each.key] = max(each.grant.epoch, highest.get(each.key, 0))
    return Books(rev=rev, highest=highest, kept={each.id: each for each in kept})


BOOKS = st.builds(
    books,
    st.integers(0, 5),
    st.lists(KEPT, max_size=6),
    st.dictionaries(st.sampled_from(["a/0", "b/0", "d/0"]), st.integers(1, 8), max_size=3),
)


@given(BOOKS, st.integers(0, 8), st.lists(GRANTS, max_size=6))
def test_no_document_gives_an_old_epoch_to_run_or_lets_two_run(
    known: Books, rev: int, grants: list[Grant]
) -> None:
    plan = engine.plan(known, rev, grants)
    if rev < known.rev:
        assert plan == engine.Plan(rev=known.rev, older=True)
        return
    for each in plan.take:
        assert each.epoch > known.highest.get(Kept(grant=each).key, 0)
    keys = [Kept(grant=each).key for each in plan.take]
    assert len(keys) == len(set(keys)), "at most one grant of an instance is new"
    stops = dict(plan.stop)
    alive = {n for n, kept in known.kept.items() if not kept.ended}
    named = {Kept(grant=each).id for each in grants}
    for name in alive - stops.keys():
        kept = known.kept[name]
        assert name in named, "what stands in the document no more is ended"
        assert known.highest[kept.key] == kept.grant.epoch
        assert kept.key not in plan.highest(), "superseded, and not ended"
    assert stops.keys() <= alive
    assert not set(plan.forget) & (alive | named)
    assert {*plan.forget} == {n for n, k in known.kept.items() if k.ended} - named


@given(BOOKS, st.lists(GRANTS, max_size=6))
def test_the_same_document_twice_changes_nothing_more(known: Books, grants: list[Grant]) -> None:
    rev = known.rev + 1
    plan = engine.plan(known, rev, grants)
    kept = {n: k for n, k in known.kept.items() if n not in plan.forget}
    kept |= {Kept(grant=g).id: Kept(grant=g) for g in plan.take}
    after = Books(rev=rev, highest={**known.highest, **plan.highest()}, kept=kept)
    again = engine.plan(after, rev, grants)
    assert (again.take, again.forget) == ((), ())
    assert dict(plan.stop).items() <= dict(again.stop).items()


def test_a_grant_that_cant_be_read_leaves_what_it_names_alone() -> None:
    kept = Kept(grant=grant(), state="running")
    known = Books(rev=1, highest={"a/0": 1}, kept={kept.id: kept})
    assert engine.plan(known, 2, [], frozenset({kept.id})).stop == ()
    assert engine.plan(known, 2, []).stop == ((kept.id, "removed"),)


RESTARTS = st.builds(
    Restart,
    policy=st.sampled_from(["always", "on_failure", "never", None]),
    attempts=st.integers(0, 4),
    interval_s=st.floats(1, 100),
    delay_s=st.floats(0, 5),
    delay_max_s=st.floats(0.1, 20),
)
ENDS = st.one_of(
    st.builds(Exit, exit_code=st.integers(0, 3)),
    st.builds(Exit, signal=st.just("SIGKILL"), oom=st.booleans()),
    st.just(Exit()),
)


@given(
    RESTARTS,
    st.sampled_from(["service", "batch"]),
    st.lists(st.tuples(ENDS, st.floats(0, 200), st.integers(0, 200_000)), max_size=30),
)
def test_however_it_ends_the_policy_is_kept(
    restart: Restart, kind: Any, ends: list[tuple[Exit, float, int]]
) -> None:
    spec = TaskSpec(kind=kind, driver="process", restart=restart)
    kept = Kept(grant=grant(spec=spec), state="running")
    restarted: list[int] = []
    now_ms = 1_000_000
    for end, run_s, later_ms in ends:
        now_ms += later_ms
        kept, then = engine.after_end(kept, end, run_s=run_s, now_ms=now_ms)
        NODE_TASK.check("running", then.state)
        NODE_TASK.check("starting", then.state)
        well, policy = end.exit_code == 0, spec.restart_policy()
        if policy == "never" or (policy == "on_failure" and well):
            assert then.state == ("succeeded" if well else "failed")
            return
        since = [at for at in restarted if now_ms - at < restart.interval_s * 1000]
        if restart.attempts and len(since) >= restart.attempts:
            assert then.code == "too_many_restarts"
            return
        assert then.state == "backing_off"
        assert 0 <= then.wait_s <= restart.delay_max_s
        restarted.append(now_ms)
        assert kept.restarts == len(restarted)


def test_waits_double_and_begin_anew_after_a_steady_run() -> None:
    kept, waits = Kept(grant=grant(), state="running"), []
    for run_s in (0.1, 0.1, 0.1, 600, 0.1):
        kept, then = engine.after_end(kept, Exit(exit_code=1), run_s=run_s, now_ms=0)
        waits.append(then.wait_s)
    assert waits == pytest.approx([0.2, 0.4, 0.8, 0.2, 0.4])


def test_trouble_that_stays_fails_and_other_trouble_is_tried_again() -> None:
    kept = Kept(grant=grant(), state="preparing")
    stays = DriverError("no_user", "nobody", permanent=True)
    assert engine.after_trouble(kept, stays, run_s=0, now_ms=0)[1].state == "failed"
    passes = DriverError("no_image", "not yet")
    _, then = engine.after_trouble(kept, passes, run_s=0, now_ms=0)
    assert (then.state, then.code, then.reason) == ("backing_off", "no_image", "not yet")
    never = replace(SPEC, restart=Restart(policy="never"))
    kept = Kept(grant=grant(spec=never), state="preparing")
    assert engine.after_trouble(kept, passes, run_s=0, now_ms=0)[1].state == "failed"


@given(st.floats(0, 3600), st.floats(0, 30 * 86_400), st.floats(0, 1e9))
def test_a_lease_leaves_time_to_stop_and_to_be_renewed(
    grace_s: float, more_s: float, asked_s: float
) -> None:
    lost_s = min(grace_s + 1.0 + more_s, 30 * 86_400)
    spec = TaskSpec(
        kind="service",
        driver="process",
        stop_grace_s=grace_s,
        disconnect=Disconnect(on_disconnect="stop", lost_after_s=lost_s),
    )
    lease = lease_of(spec, asked_s)
    assert lease.end_s == asked_s + lost_s
    assert lease.kill_s == lease.end_s - margin_s(spec) < lease.end_s
    assert lease.stop_s == pytest.approx(lease.kill_s - grace_s, abs=1e-6)
    assert lease.stop_s - asked_s >= 0.74, "renewed before it begins to stop"
    assert renew_every_s(spec) * 3 <= max(lost_s - grace_s - margin_s(spec), 0.6) + 1e-6


@given(KEPT)
def test_what_is_kept_is_read_again(kept: Kept) -> None:
    assert kept_of(kept.row()) == kept
    assert kept.row().id == id_of(kept.grant.task, 0, kept.grant.epoch)


def test_states_that_no_event_has_told_travel_with_the_next() -> None:
    kept = Kept(grant=grant()).moved("preparing", 1).moved("starting", 2)
    assert kept.via == (("preparing", 1),)
    told = kept.spoken().moved("running", 3)
    assert told.via == ()
    assert told.moved("stopping", 4).via == (("running", 3),)
