"""Promises of the pure part: when to send, when to give up, and that the node's last word counts."""

import random
from dataclasses import replace

import pytest
from center_commands.stage import report
from farshore_center.commands.engine import (
    CANCELLED,
    MAX_STEPS,
    NO_ANSWER,
    NOT_ONLINE,
    Step,
    Target,
    apply_report,
    cancel,
    decide_sends,
    queued,
)
from farshore_center.commands.settings import CommandSettings
from farshore_protocol.commands import NODE_COMMAND, CommandReport
from farshore_protocol.commands.lifecycle import FINAL
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_000_000
PACE = CommandSettings().pace
NEW = queued(command_id="c1", node="pi-17", expires_ms=NOW + 60_000, now_ms=NOW)
SENT = replace(NEW, state="sent", sent_ms=NOW, sends=1, history=(*NEW.history, Step("sent", NOW)))


@pytest.mark.parametrize(
    ("target", "after_ms", "online", "arrived", "action", "look_ms"),
    [
        pytest.param(NEW, 0, True, False, "send", 10_000, id="queued, online: sent"),
        pytest.param(NEW, 0, False, False, "wait", 60_000, id="queued, offline: waits for the end"),
        pytest.param(NEW, 5, False, True, "send", 10_005, id="arrived a moment ago: sent"),
        pytest.param(NEW, 59_999, True, False, "send", 60_000, id="the last moment: sent"),
        pytest.param(NEW, 60_000, True, False, "expire", None, id="its time is over"),
        pytest.param(SENT, 9_999, True, False, "wait", 10_000, id="no answer yet: waits"),
        pytest.param(SENT, 10_000, True, False, "send", 30_000, id="no answer: sent again"),
        pytest.param(SENT, 10_000, False, False, "wait", 60_000, id="sent, offline: waits"),
        pytest.param(SENT, 1, True, True, "send", 20_001, id="sent, back again: at once"),
        pytest.param(SENT, 60_001, True, False, "expire", None, id="never answered"),
        pytest.param(SENT, -5_000, True, False, "send", 15_000, id="the clock was set back"),
        pytest.param(
            replace(SENT, state="running"), 90_000, True, True, "settled", None, id="the node's now"
        ),
    ],
)
def test_decisions(
    target: Target, after_ms: int, online: bool, arrived: bool, action: str, look_ms: int | None
) -> None:
    (decision,) = decide_sends(
        [target],
        NOW + after_ms,
        {"pi-17"} if online else set(),
        arrived={"pi-17"} if arrived else set(),
        pace=PACE,
    )
    assert decision.action == action
    assert decision.look_ms == (None if look_ms is None else NOW + look_ms)


def test_sending_again_keeps_the_state_and_counts() -> None:
    (decision,) = decide_sends([SENT], NOW + 10_000, {"pi-17"}, pace=PACE)
    assert decision.target == replace(SENT, sent_ms=NOW + 10_000, sends=2)


@pytest.mark.parametrize(("target", "reason"), [(NEW, NOT_ONLINE), (SENT, NO_ANSWER)])
def test_the_reason_says_what_was_missing(target: Target, reason: str) -> None:
    (decision,) = decide_sends([target], NOW + 60_000, {"pi-17"}, pace=PACE)
    assert (decision.target.state, decision.target.reason) == ("expired", reason)


def test_pauses_double_to_the_most() -> None:
    pauses = [PACE.pause_ms(sends) for sends in (1, 2, 3, 4, 5, 10_000)]
    assert pauses == [10_000, 20_000, 40_000, 60_000, 60_000, 60_000]


def test_what_is_queued_is_cancelled_and_what_was_sent_is_for_its_node_to_end() -> None:
    cancelled = cancel(NEW, NOW + 1)
    assert cancelled is not None
    assert (cancelled.state, cancelled.reason) == ("cancelled", CANCELLED)
    going = cancel(SENT, NOW)
    assert going is not None
    assert (going.state, going.cancelling) == ("sent", True)
    (decision,) = decide_sends([going], NOW + 1, {going.node}, arrived={going.node}, pace=PACE)
    assert decision.action == "wait", "it is not sent again"
    assert apply_report(going, report("c1", "cancelled"), NOW).state == "cancelled"
    assert cancel(cancelled, NOW) is None
    assert apply_report(cancelled, report("c1", "running"), NOW).state == "cancelled"


def test_a_late_answer_overrules_the_expiry() -> None:
    (decision,) = decide_sends([SENT], NOW + 60_000, set(), pace=PACE)
    late = apply_report(decision.target, report("c1", "succeeded", result={"a": 1}), NOW + 99_000)
    assert (late.state, late.reason, late.result) == ("succeeded", None, '{"a":1}')
    assert [step.state for step in late.history] == ["queued", "sent", "expired", "succeeded"]


def test_states_passed_on_the_way_are_in_the_history() -> None:
    via = (("received", 5), ("accepted", 6), ("running", 7))
    after = apply_report(SENT, report("c1", "succeeded", via=via, at=8), NOW)
    assert [(step.state, step.at_ms) for step in after.history[2:]] == [*via, ("succeeded", 8)]


def test_an_old_running_does_not_revive_an_interrupted_command() -> None:
    ended = apply_report(SENT, report("c1", "interrupted", seq=5), NOW)
    assert apply_report(ended, report("c1", "running", seq=4), NOW).state == "interrupted"
    assert apply_report(ended, report("c1", "running", seq=6), NOW).state == "running"


def test_an_end_is_left_by_no_report_of_another_disk() -> None:
    ended = apply_report(SENT, report("c1", "interrupted", seq=5), NOW)
    other = report("c1", "running", seq=9, epoch="e2")
    assert apply_report(ended, other, NOW).state == "interrupted"


def test_the_end_of_a_secret_command_keeps_its_result_in_either_order() -> None:
    """The node says the end again to a repeated id, and remembers no result."""
    first = report("c1", "succeeded", seq=5, result={"exit_code": 0})
    again = report("c1", "succeeded", seq=6)
    for way in ((first, again), (again, first)):
        target = SENT
        for each in way:
            target = apply_report(target, each, NOW)
        assert (target.state, target.result) == ("succeeded", '{"exit_code":0}')


def test_what_was_erased_stays_erased() -> None:
    ended = replace(apply_report(SENT, report("c1", "succeeded", seq=6), NOW), erased=True)
    late = report("c1", "succeeded", seq=5, result={"exit_code": 0})
    assert apply_report(ended, late, NOW).result is None


def test_a_history_is_bounded() -> None:
    target = SENT
    for seq in range(1, 300):
        target = apply_report(target, report("c1", "running", seq=seq), NOW)
    assert len(target.history) == 2 + MAX_STEPS


@st.composite
def ways(draw: st.DrawFn) -> list[CommandReport]:
    """The reports of a node about one command: any legal way, some coalesced, some repeated."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    state, at, seq = "received", 1_700_000_000_000, 0
    via: list[tuple[str, int]] = []
    reports: list[CommandReport] = []
    for _ in range(12):
        follows = sorted(NODE_COMMAND.table[state])
        if rng.random() < 0.7 or not follows:
            seq += 1
            result = {"seq": seq} if state in FINAL else None
            reports.append(report("c1", state, seq, at=at, via=tuple(via), result=result))
            via = []
        else:
            via.append((state, at))
        if rng.random() < 0.2:
            continue  # says the same again, as after a duplicate of the command
        if not follows:
            break
        state, at = rng.choice(follows), at + rng.choice([-3, 0, 1, 1000])
    return reports


@given(reports=ways(), data=st.data(), start=st.sampled_from(["queued", "sent", "expired"]))
def test_any_order_of_a_nodes_reports_ends_the_same(
    reports: list[CommandReport], data: st.DataObject, start: str
) -> None:
    shuffled = data.draw(st.permutations(reports + reports))
    begin = replace(SENT, state=start)
    straight = disordered = begin
    for each in reports:
        straight = apply_report(straight, each, NOW)
    for each in shuffled:
        disordered = apply_report(disordered, each, NOW)
    assert straight.state == (reports[-1].state if reports else start)
    assert (disordered.state, disordered.reason) == (straight.state, straight.reason)
    assert disordered.history == straight.history
    if straight.state not in ("received", "accepted", "running"):
        assert (disordered.result is None) == (straight.result is None)


@given(reports=ways())
def test_a_repeated_report_changes_nothing(reports: list[CommandReport]) -> None:
    target = SENT
    for each in reports:
        target = apply_report(target, each, NOW)
        assert apply_report(target, each, NOW + 1) is target
