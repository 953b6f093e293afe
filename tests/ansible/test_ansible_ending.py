"""What is known of a command, put together from events and records in any order."""

import itertools
from typing import Any

import pytest
from farshore_center.ansible.ending import Target
from farshore_center.ansible.errors import NotReachedError, NotRunError, OutputCutError


def said(state: str, **more: Any) -> dict[str, Any]:
    return {"state": state, "result": None, "error": None, "output": [], **more}


def chunk(offset: int, text: str) -> dict[str, Any]:
    return {"stream": "stdout", "offset": offset, "text": text}


def test_reports_in_any_order_come_to_the_same() -> None:
    reports = [
        said("running", output=[chunk(0, "aü")]),
        said("running", output=[chunk(3, "b")]),
        said("succeeded", output=[chunk(4, "c")], result={"exit_code": 0, "signal": None}),
    ]
    for order in itertools.permutations([*reports, reports[0]]):
        target = Target(id="c1")
        for each in order:
            target.absorb(each)
        assert (target.state, target.text("stdout"), target.exit_code()) == ("succeeded", "aübc", 0)


def test_a_gap_in_the_output_is_seen() -> None:
    target = Target(id="c1")
    target.absorb(said("succeeded", output=[chunk(0, "a"), chunk(2, "c")]))
    assert target.text("stdout") is None
    target.absorb(said("succeeded", output=[chunk(1, "b")]))
    assert target.text("stdout") == "abc"


@pytest.mark.parametrize(
    ("before", "end", "kind", "text"),
    [
        ("queued", said("expired"), NotReachedError, "nothing was run"),
        ("sent", said("expired", reason="no answer"), NotReachedError, "may still run"),
        ("queued", said("cancelled"), NotReachedError, "cancelled before"),
        ("sent", said("rejected", error={"code": "unsigned", "message": "only signed"}),
         NotReachedError, "only signed"),
        ("running", said("timed_out", result={"exit_code": None, "signal": "SIGTERM"},
         error={"code": "timed_out", "message": "after 1 s"}), NotRunError, "after 1 s"),
        ("running", said("interrupted", error={"code": "interrupted", "message": "died"}),
         NotRunError, "not run again"),
        ("running", said("failed", error={"code": "not_started", "message": "no shell"}),
         NotRunError, "no shell"),
        ("running", said("succeeded", result={"exit_code": 0, "output_cut_bytes": 9}),
         OutputCutError, "9 bytes are cut"),
    ],
)  # fmt: skip
def test_an_end_without_an_exit_code_says_why(
    before: str, end: dict[str, Any], kind: type[Exception], text: str
) -> None:
    target = Target(id="c1")
    target.absorb(said(before))
    target.absorb(end)
    why = target.why_not_run("pi-1")
    assert isinstance(why, kind)
    assert text in str(why)
    assert "pi-1" in str(why)


def test_a_program_that_ended_by_itself_has_a_code_whatever_it_is() -> None:
    for result, code in (
        ({"exit_code": 3, "signal": None}, 3),
        ({"exit_code": None, "signal": "SIGKILL"}, 137),
        ({"exit_code": None, "signal": "77"}, 128),
    ):
        target = Target(id="c1")
        target.absorb(said("failed", result=result, error={"code": "exit", "message": "x"}))
        assert target.why_not_run("pi-1") is None
        assert target.exit_code() == code


def test_the_nodes_word_overrules_an_expiry_and_nothing_undoes_an_end() -> None:
    target = Target(id="c1")
    target.absorb(said("expired"))
    target.absorb(said("succeeded", result={"exit_code": 0}))
    target.absorb(said("running"))
    assert target.state == "succeeded"


def test_the_end_of_a_secret_command_is_there_when_the_record_has_been_seen() -> None:
    target = Target(id="c1")
    target.absorb(said("succeeded", secret=True, output_left_out=1))
    assert not target.final
    target.absorb(said("succeeded", output=[chunk(0, "a")], result={"exit_code": 0}, history=[]))
    assert target.final
    assert (target.text("stdout"), target.exit_code()) == ("a", 0)


def test_a_late_word_does_not_pass_for_the_record_of_a_secret_command() -> None:
    """The center sends again while the end arrives: its ``sent`` says nothing of the result."""
    target = Target(id="c1")
    target.absorb(said("succeeded", secret=True, output_left_out=1))
    target.absorb(said("sent"))
    assert not target.final
    target.absorb(said("succeeded", result={"exit_code": 0}, history=[]))
    assert target.final
    target.absorb(said("succeeded", secret=True, output_left_out=1))
    assert target.final, "what is known stays known"
    assert target.why_not_run("pi-1") is None


def test_a_secret_end_after_an_expiry_is_looked_up() -> None:
    target = Target(id="c1")
    target.absorb(said("expired"))
    target.absorb(said("succeeded", secret=True, output_left_out=1))
    assert not target.final


def test_an_end_without_what_it_came_to_is_wanting() -> None:
    target = Target(id="c1")
    target.absorb(said("succeeded", history=[]))
    assert target.wanting
    target.absorb(said("succeeded", result={"exit_code": 0}, history=[]))
    assert not target.wanting
