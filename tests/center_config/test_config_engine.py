"""What becomes of one node's configuration: every kind of report, birth and desired, by itself."""

from dataclasses import replace
from typing import Any

import pytest
from farshore_center.config.delivery import Waiting, wants_sending
from farshore_center.config.engine import (
    EMPTY_DIGEST,
    NodeConfig,
    Wanted,
    desire,
    hear,
    refuse,
    resolve,
    send_at_birth,
)
from farshore_center.config.lifecycle import DESIRED_CONFIG
from farshore_center.config.settings import ConfigSettings
from farshore_protocol.config.digest import digest
from farshore_protocol.config.lifecycle import REPORTED
from farshore_protocol.config.messages import ConfigReport, Override
from farshore_protocol.errors import IllegalTransitionError
from hypothesis import given
from hypothesis import strategies as st

A, B, C = (digest({"a": n}) for n in range(3))
NOW = 1_000


def row(**more: Any) -> NodeConfig:
    given: dict[str, Any] = {"node": "pi-1", "labels": {}, "changed_ms": 1, "rev": 3, "digest": A}
    return NodeConfig(**given | {"state": "pending"} | more)


def wanted(of: str, group: str = "", **labels: str) -> Wanted:
    return Wanted(digest=of, group=group, labels=labels)


def report(rev: int, of: str, state: Any = "applied", seq: int = 1, **more: Any) -> ConfigReport:
    given: dict[str, Any] = {"epoch": "e", "boot": "b", "up_ms": 1, "ts": 1}
    running = {"running": of, "running_rev": rev} if state == "applied" else {}
    return ConfigReport(rev=rev, digest=of, state=state, seq=seq, **given | running | more)


def test_the_number_grows_with_configuration_group_or_labels_and_with_nothing_else() -> None:
    first = desire(row(rev=0, digest=None, state="none"), wanted(A, "eu", env="x"), NOW)
    assert (first.rev, first.state) == (1, "pending")
    assert desire(first, wanted(A, "eu", env="x"), NOW) is first
    for other in (wanted(B, "eu", env="x"), wanted(A, "us", env="x"), wanted(A, "eu", env="y")):
        again = desire(replace(first, state="applied"), other, NOW)
        assert (again.rev, again.state) == (2, "pending")


@pytest.mark.parametrize("state", REPORTED)
def test_the_answer_to_the_desired_is_its_state(state: str) -> None:
    heard = hear(row(), report(3, A, state), NOW)
    assert (heard.row.state, heard.send) == (state, False)
    assert heard.events == (f"config.{state}",)
    again = hear(heard.row, report(3, A, state, seq=2), NOW)
    assert again.events == ()


def test_a_report_on_an_older_desired_answers_nothing() -> None:
    for of in (A, B):
        heard = hear(row(), report(2, of), NOW)
        assert (heard.row.state, heard.send, heard.row.reported_rev) == ("pending", False, 2)


def test_a_report_that_a_later_one_overtook_changes_nothing() -> None:
    later = hear(row(), report(3, A, seq=5), NOW).row
    assert hear(later, report(2, B, seq=4), NOW).row is later
    # The node's outbox was made anew: its numbers begin anew.
    assert hear(later, report(3, A, "drifted", seq=1, epoch="f"), NOW).row.state == "drifted"


def test_another_digest_under_our_number_is_answered_by_sending_again() -> None:
    heard = hear(row(state="applied"), report(3, B), NOW)
    assert (heard.row.state, heard.row.rev, heard.send) == ("pending", 3, True)


def test_a_number_beyond_ours_is_taken_over_if_it_stands_for_what_we_want() -> None:
    heard = hear(row(), report(9, A), NOW)
    assert (heard.row.rev, heard.row.state, heard.send) == (9, "applied", False)


def test_a_node_that_is_ahead_waits_for_a_person() -> None:
    heard = hear(row(), report(9, B), NOW)
    assert (heard.row.rev, heard.row.state, heard.send) == (3, "ahead", False)
    assert heard.events == ("config.ahead",)
    ahead = heard.row
    # A new desired makes it no less ahead, but for the one that the node runs already.
    assert desire(ahead, wanted(C), NOW).state == "ahead"
    met = desire(ahead, wanted(B), NOW)
    assert (met.rev, met.state) == (10, "pending")
    resolved = resolve(ahead, NOW)
    assert (resolved.rev, resolved.state) == (10, "pending")
    assert hear(resolved, report(10, A, seq=2), NOW).row.state == "applied"


def test_a_node_of_which_nothing_was_desired() -> None:
    nothing = row(rev=0, digest=None, state="none")
    assert hear(nothing, report(7, B), NOW).row.state == "ahead"
    taken = hear(nothing, report(7, EMPTY_DIGEST), NOW).row
    assert (taken.rev, taken.state) == (7, "applied")


def test_what_is_invalid_is_shown_as_failed_and_gone_when_it_is_valid_again() -> None:
    running = hear(row(), report(3, A), NOW).row
    problem = refuse(running, {"code": "invalid"}, NOW)
    assert (problem.shown_state, problem.state, problem.rev) == ("failed", "applied", 3)
    assert refuse(problem, {"code": "invalid"}, 2 * NOW) is problem
    healed = desire(problem, wanted(A), NOW)
    assert (healed.shown_state, healed.rev) == ("applied", 3)


def test_an_override_is_told_when_it_comes_changes_and_goes() -> None:
    override = Override(config={"a": 1}, author="bob", reason="r", set_ms=5)
    running = hear(row(), report(3, A), NOW).row
    set_ = hear(running, report(3, A, seq=2, override=override), NOW)
    assert set_.events == ("config.override",)
    assert hear(set_.row, report(3, A, seq=3), NOW).events == ("config.override",)


BIRTHS: list[tuple[str, NodeConfig, int | None, str | None, bool]] = [
    ("nothing is desired", row(rev=0, digest=None, state="none"), None, None, False),
    ("it runs the desired", row(state="applied"), 3, A, False),
    ("it runs the desired, as an older agent says it", row(state="applied"), 3, None, False),
    ("it applied it just before the link broke", row(), 3, A, False),
    ("it runs an older one", row(), 2, B, True),
    ("it was made anew", row(state="applied"), None, None, True),
    ("its disk was changed under our number", row(state="applied"), 3, B, True),
    (
        "it fell back from this one, and said so",
        row(state="rolled_back", reported_rev=3, running_rev=2, running=B),
        2,
        B,
        False,
    ),
    (
        "it failed with it, and has lost what ran since",
        row(state="failed", reported_rev=3, running_rev=2, running=B),
        None,
        None,
        True,
    ),
    ("it is ahead still", row(state="ahead", reported_rev=9), 9, C, False),
    ("it was ahead, and was made anew", row(state="ahead", reported_rev=9), None, None, True),
]


@pytest.mark.parametrize(("row", "rev", "running", "send"), [b[1:] for b in BIRTHS],
                         ids=[b[0] for b in BIRTHS])  # fmt: skip
def test_at_birth(row: NodeConfig, rev: int | None, running: str | None, send: bool) -> None:
    assert send_at_birth(row, rev, running) is send


@given(
    st.sampled_from(DESIRED_CONFIG.states),
    st.sampled_from(REPORTED),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([A, B, EMPTY_DIGEST]),
)
def test_no_report_in_no_state_is_illegal(
    state: str, said: str, rev: int, reported: int, of: str
) -> None:
    before = row(state="none", rev=0, digest=None) if state == "none" else row(state=state, rev=rev)
    heard = hear(before, report(reported, of, said), NOW)
    assert heard.row.state in DESIRED_CONFIG.states
    assert heard.row.rev >= before.rev
    if reported == before.rev > 0 and of == before.digest:
        assert heard.row.state == said


def test_what_the_table_does_not_hold_is_refused() -> None:
    with pytest.raises(IllegalTransitionError):
        DESIRED_CONFIG.check("pending", "none")


def test_who_is_sent_something() -> None:
    fresh, forced = Waiting(look_ms=0), Waiting(look_ms=0, forced=True)
    assert wants_sending(row(), fresh)
    assert not wants_sending(row(state="applied"), fresh)
    assert wants_sending(row(state="applied"), forced)
    heard = Waiting(look_ms=0, forced=True, heard=("e", 4))
    assert wants_sending(row(state="applied", epoch="e", seq=4), heard)
    assert not wants_sending(row(state="applied", epoch="e", seq=5), heard)
    assert not wants_sending(row(state="ahead"), forced)
    assert not wants_sending(None, fresh)


def test_the_pause_doubles_up_to_ten_minutes() -> None:
    settings = ConfigSettings()
    assert [settings.pace.pause_ms(sends) // 1000 for sends in range(1, 8)] == [
        30, 60, 120, 240, 480, 600, 600,
    ]  # fmt: skip
