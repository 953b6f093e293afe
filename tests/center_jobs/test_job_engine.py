"""The engine of jobs: what it must never do, for any rules and any answers; and each rule once."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from center_jobs.play import Play, healthy, job_of
from farshore_center.jobs.apply import apply, forgive
from farshore_center.jobs.engine import plan, wave_size
from farshore_center.jobs.lifecycle import ENDED, QUIET
from farshore_center.jobs.limits import within
from farshore_center.jobs.rules import (
    Budget,
    Rules,
    SelectorGate,
    Size,
    Threshold,
    Waves,
)
from farshore_center.jobs.state import (
    EndWave,
    Facts,
    JobTo,
    Move,
    OpenWave,
    Place,
    StartNodes,
    Verdict,
)
from farshore_protocol.errors import IllegalTransitionError
from hypothesis import given
from hypothesis import strategies as st

SIZES = st.one_of(
    st.builds(Size, count=st.integers(1, 8)), st.builds(Size, percent=st.floats(1, 100))
)
RULES = st.builds(
    Rules,
    waves=st.builds(
        Waves,
        sizes=st.lists(SIZES, min_size=1, max_size=3).map(tuple),
        factor=st.floats(1, 3),
    ),
    at_once=st.integers(1, 6),
    at_once_per_group=st.none() | st.integers(1, 3),
    success=st.builds(Threshold, percent=st.floats(1, 100), minimum=st.integers(1, 5)),
    soak_s=st.integers(0, 5).map(float),
    gates=st.sampled_from([(), (SelectorGate(selector="x"),)]),
    gate_wait_s=st.integers(0, 4).map(float),
    retries=st.integers(0, 2),
    node_deadline_s=st.integers(2, 6).map(float),
    budgets=st.lists(
        st.builds(
            Budget, group=st.sampled_from(["", "g0"]), most=st.builds(Size, count=st.integers(1, 4))
        ),
        max_size=2,
    ).map(tuple),
)
NODES = st.integers(1, 20).map(lambda number: [f"n{each:02}" for each in range(number)])
SAID = st.sampled_from(
    ["succeeded", "succeeded", "succeeded", "failed", "timed_out", "rejected", None]
)


class Drawn:
    """Answers drawn by hypothesis, the same each time."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def __call__(self, node: str, attempt: int) -> tuple[int, str | None]:
        return self._data.draw(st.integers(0, 8)), self._data.draw(SAID)


def check_limits(play: Play) -> None:
    rules, facts = play.snapshot.job.rules, play.snapshot.facts
    active = [each.node for each in play.snapshot.nodes if each.state in ("active", "undoing")]
    assert len(active) <= rules.at_once
    groups = Counter(facts.places.get(node, Place()).group for node in active)
    if rules.at_once_per_group is not None:
        assert all(number <= rules.at_once_per_group for number in groups.values())
    if play.state == "running":
        for budget in rules.budgets:
            ill = [n for n in active if within(facts.places[n].group, budget.group)]
            assert len(ill) <= budget.most.of(facts.group_sizes[budget.group])


def check_gates(play: Play) -> None:
    """A wave opens only when each node of those before has ended and their soak is over."""
    opened = {a.number: at for at, a in play.done if isinstance(a, OpenWave)}
    ended = {a.number: at for at, a in play.done if isinstance(a, EndWave)}
    members = {a.number: set(a.nodes) for _, a in play.done if isinstance(a, OpenWave)}
    started = [(at, set(a.nodes)) for at, a in play.done if isinstance(a, StartNodes)]
    for number, at in opened.items():
        if number > 1:
            assert at >= ended[number - 1] + play.snapshot.job.rules.soak_s * 1000
        later = set().union(*(members[n] for n in members if n >= number))
        assert not any(nodes & later for when, nodes in started if when < at)


def check_quiet(play: Play) -> None:
    state, began = "scheduled", []
    for _, action in play.done:
        if isinstance(action, JobTo):
            state = action.state
        elif isinstance(action, StartNodes | OpenWave):
            began.append(state)
    assert not QUIET & set(began)


@given(rules=RULES, nodes=NODES, data=st.data())
def test_never_more_at_once_than_allowed_and_no_wave_before_its_time(
    rules: Rules, nodes: list[str], data: st.DataObject
) -> None:
    play = Play(job_of(rules, nodes), answer=Drawn(data), check=check_limits)
    shut: list[int] = []
    for _ in range(80):
        holds = data.draw(st.booleans()) if rules.gates else True
        verdicts = tuple(Verdict(holds, "drawn") for _gate in rules.gates)
        play.snapshot = replace(play.snapshot, facts=replace(play.snapshot.facts, gates=verdicts))
        play.step()
        if not holds:
            shut.append(play.now_ms)
    check_gates(play)
    later = [at for at, action in play.done if isinstance(action, OpenWave) and action.number > 1]
    assert not set(later) & set(shut), "a wave was opened while a gate was shut"
    check_quiet(play)
    tries = Counter(node for _, node, _ in play.sent)
    assert all(number <= 1 + rules.retries for number in tries.values())
    assert len({(node, attempt) for _, node, attempt in play.sent}) == len(play.sent)


@given(
    rules=RULES, nodes=NODES, data=st.data(), stop=st.sampled_from(["halted", "paused", "aborted"])
)
def test_a_job_that_was_stopped_is_silent(
    rules: Rules, nodes: list[str], data: st.DataObject, stop: str
) -> None:
    play = Play(job_of(rules, nodes), answer=Drawn(data)).run(data.draw(st.integers(0, 20)))
    if play.state != "running":
        return
    play.snapshot = apply(play.snapshot, JobTo(stop), play.now_ms)
    before = len(play.sent)
    play.run(40)
    assert len(play.sent) == before
    assert play.state == stop
    assert not any(each.state == "active" for each in play.snapshot.nodes)


@given(rules=RULES, nodes=NODES)
def test_all_healthy_means_done(rules: Rules, nodes: list[str]) -> None:
    snapshot = job_of(rules, nodes)
    open_gates = tuple(Verdict(True, "it holds") for _gate in rules.gates)
    snapshot = replace(snapshot, facts=replace(snapshot.facts, gates=open_gates))
    play = Play(snapshot, answer=healthy).run(20 * 8)
    assert play.state == "succeeded"
    assert play.counts() == {"succeeded": len(nodes)}
    assert len(play.sent) == len(nodes)


@given(rules=RULES, nodes=NODES, data=st.data())
def test_an_action_is_applied_once(rules: Rules, nodes: list[str], data: st.DataObject) -> None:
    play = Play(job_of(rules, nodes), answer=Drawn(data)).run(data.draw(st.integers(0, 10)))
    snapshot = play.snapshot
    for _, action in play.done:
        if isinstance(action, StartNodes):
            busy = {e.node for e in snapshot.nodes if e.state in {"active", *ENDED}}
            if busy & set(action.nodes):
                with pytest.raises(IllegalTransitionError):
                    apply(snapshot, action, play.now_ms)


@given(rules=RULES, nodes=NODES, data=st.data())
def test_a_rollback_undoes_what_was_touched_and_nothing_else(
    rules: Rules, nodes: list[str], data: st.DataObject
) -> None:
    play = Play(job_of(rules, nodes), answer=Drawn(data), check=check_limits)
    play.run(data.draw(st.integers(1, 20)))
    touched = play.touched()
    if play.state == "running":
        play.snapshot = apply(play.snapshot, JobTo("halted"), play.now_ms)
    play.snapshot = apply(play.snapshot, JobTo("rolling_back"), play.now_ms)
    play.sent.clear()
    play.run(20 * 9)
    assert play.state == "rolled_back"
    assert {node for _, node, _ in play.sent} == touched
    assert len(play.sent) == len(touched)


# One rule each


def names(number: int) -> list[str]:
    return [f"n{each:04}" for each in range(number)]


def bad(_node: str, _attempt: int) -> tuple[int, str | None]:
    return 1, "failed"


def silent(_node: str, _attempt: int) -> tuple[int, str | None]:
    return 1, None


@pytest.mark.parametrize("answer", [bad, silent], ids=["it fails", "it is silent"])
def test_a_bad_payload_stops_at_the_canary(answer: Any) -> None:
    rules = Rules(waves=Waves(sizes=(Size(percent=1), Size(percent=100))), at_once=1000)
    play = Play(job_of(rules, names(1000)), answer=answer).run(400)
    assert play.state == "halted"
    assert 0 < len(play.touched()) <= 10
    assert "nodes did not succeed" in (play.snapshot.job.reason or "")


def test_waves_grow_by_their_factor() -> None:
    waves = Waves(sizes=(Size(count=2), Size(percent=5)), factor=3)
    sizes, last = [], 0
    for number in range(5):
        last = wave_size(waves, number, last, 100)
        sizes.append(last)
    assert sizes == [2, 5, 15, 45, 100]


def test_only_failed_and_timed_out_are_tried_again() -> None:
    said = {"n0000": "failed", "n0001": "timed_out", "n0002": "rejected", "n0003": "interrupted"}
    rules = Rules(retries=2, success=Threshold(percent=0.1, minimum=1))
    play = Play(
        job_of(rules, names(6)),
        answer=lambda node, _attempt: (1, None if node == "n0004" else said.get(node, "succeeded")),
    ).run(400)
    tries = Counter(node for _, node, _ in play.sent)
    assert tries == {"n0000": 3, "n0001": 3, "n0002": 1, "n0003": 1, "n0004": 1, "n0005": 1}
    assert play.counts() == {
        "failed": 1, "timed_out": 1, "rejected": 1, "interrupted": 1, "silent": 1, "succeeded": 1,
    }  # fmt: skip


def test_a_gate_holds_the_next_wave_and_halts_when_its_wait_is_over() -> None:
    rules = Rules(
        waves=Waves(sizes=(Size(count=1),)), gates=(SelectorGate(selector="x"),), gate_wait_s=10
    )
    play = Play(job_of(rules, names(3)))
    closed = replace(play.snapshot.facts, gates=(Verdict(False, "node n1 is ill"),))
    play.snapshot = replace(play.snapshot, facts=closed)
    play.run(5)
    assert (play.state, len(play.touched())) == ("running", 1)
    play.run(10)
    assert (play.state, play.snapshot.job.reason) == ("halted", "gate: node n1 is ill")
    assert len(play.touched()) == 1


def test_a_gate_that_nobody_judged_does_not_hold() -> None:
    rules = Rules(waves=Waves(sizes=(Size(count=1),)), gates=(SelectorGate(selector="x"),))
    assert Play(job_of(rules, names(3))).run(5).state == "halted"


def test_a_person_approves_each_wave_but_the_first() -> None:
    rules = Rules(waves=Waves(sizes=(Size(count=1),)), approval=True)
    play = Play(job_of(rules, names(2))).run(30)
    assert (play.state, len(play.touched())) == ("awaiting_approval", 1)
    job = replace(play.snapshot.job, state="running", approved=2)
    play.snapshot = replace(play.snapshot, job=job)
    assert play.run(5).state == "succeeded"


def test_a_budget_counts_what_others_disrupt() -> None:
    rules = Rules(budgets=(Budget(group="g0", most=Size(count=2)),))
    play = Play(job_of(rules, names(9)), answer=silent)
    ill = frozenset({"elsewhere", "n0001"})
    places = {**play.snapshot.facts.places, "elsewhere": Place(group="g0/deep")}
    facts = replace(play.snapshot.facts, disrupted=ill, places=places)
    play.snapshot = replace(play.snapshot, facts=facts)
    play.settle()
    started = [places[node].group for node in play.touched()]
    assert Counter(started) == {"g0": 1, "g1": 3, "g2": 3}


def test_a_closed_window_keeps_its_node_waiting() -> None:
    play = Play(job_of(Rules(), names(2)))
    places = {"n0000": Place(open=False), "n0001": Place()}
    play.snapshot = replace(play.snapshot, facts=Facts(places=places))
    play.run(5)
    assert (play.touched(), play.state) == ({"n0001"}, "running")
    play.snapshot = replace(play.snapshot, facts=Facts())
    assert play.run(5).state == "succeeded"


def test_late_joiners_keep_to_the_rate() -> None:
    rules = Rules(waves=Waves(sizes=(Size(count=1), Size(count=2))), deadline_s=60, at_once=2)
    play = Play(job_of(rules, names(3), following=True, deadline_ms=60_000))
    everybody = frozenset(names(3))
    play.snapshot = replace(play.snapshot, facts=Facts(members=everybody))
    play.run(10)
    assert len(play.touched()) == 3
    more = everybody | {f"late{n}" for n in range(20)}
    play.snapshot = replace(play.snapshot, facts=Facts(members=more))
    play.check = check_limits
    play.run(8)
    assert 0 < len(play.touched()) < 23
    waves = [len(a.nodes) for _, a in play.done if isinstance(a, OpenWave)]
    assert max(waves) == 2
    assert play.run(60).state == "succeeded"


def test_who_leaves_before_its_turn_is_left_alone() -> None:
    rules = Rules(waves=Waves(sizes=(Size(count=1),)), deadline_s=60)
    play = Play(job_of(rules, names(3), following=True, deadline_ms=60_000))
    play.snapshot = replace(play.snapshot, facts=Facts(members=frozenset()))
    play.run(70)
    assert (play.sent, play.counts(), play.state) == ([], {"left": 3}, "succeeded")


def test_the_deadline_of_a_job_halts_it() -> None:
    rules = Rules(deadline_s=5, at_once=1, waves=Waves(sizes=(Size(count=1),)))
    play = Play(job_of(rules, names(40), deadline_ms=5000)).run(30)
    assert play.state == "halted"
    assert "deadline" in (play.snapshot.job.reason or "")
    assert len(play.touched()) < 10


def test_a_late_answer_overrules_silence() -> None:
    rules = Rules(node_deadline_s=3, success=Threshold(percent=1))
    play = Play(
        job_of(rules, ["n1", "n2"]), answer=lambda n, _a: (10 if n == "n1" else 1, "succeeded")
    )
    play.run(5)
    assert play.counts() == {"silent": 1, "succeeded": 1}
    assert play.run(8).counts() == {"succeeded": 2}


def test_failures_that_a_person_has_seen_do_not_count_again() -> None:
    rules = Rules(waves=Waves(sizes=(Size(count=1),)))
    play = Play(job_of(rules, names(3)))
    first = plan(apply(play.snapshot, JobTo("running"), 0), 0)[0]
    assert isinstance(first, OpenWave)
    ill = first.nodes[0]
    play.answer = lambda node, _attempt: (1, "failed" if node == ill else "succeeded")
    assert play.run(5).state == "halted"
    play.snapshot = apply(forgive(play.snapshot), JobTo("running"), play.now_ms)
    assert play.run(10).state == "succeeded"


def test_a_job_waits_for_its_time() -> None:
    play = Play(job_of(Rules(), names(1), start_ms=5000)).run(4)
    assert (play.sent, play.state) == ([], "scheduled")
    assert play.run(4).state == "succeeded"


def test_what_was_not_told_yet_goes_back_and_its_turn_has_not_been() -> None:
    play = Play(job_of(Rules(), names(1)), answer=silent)
    play.settle()
    (node,) = play.snapshot.nodes
    assert (node.state, node.attempts) == ("active", 1)
    play.snapshot = apply(play.snapshot, JobTo("aborted"), play.now_ms)
    play.snapshot = apply(play.snapshot, Move("n0000", "waiting", "not told"), play.now_ms)
    (node,) = play.snapshot.nodes
    assert (node.state, node.attempts, node.started_ms) == ("waiting", 0, None)
    play.snapshot = apply(play.snapshot, JobTo("rolling_back"), play.now_ms)
    play.sent.clear()
    assert play.run(3).state == "rolled_back"
    assert play.sent == []
