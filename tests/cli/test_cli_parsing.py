"""The pure parts between the API and the screen: events off the wire, books, a command's course."""

from itertools import pairwise
from typing import Any

from farshore_center.cli.books import COMPLETE, read_book, verdict
from farshore_center.cli.groups import groups_tree
from farshore_center.cli.progress import (
    FINAL,
    all_succeeded,
    first_line,
    is_done,
    output_of,
    says_now,
    summary_text,
    with_events,
)
from farshore_center.cli.sse import EventDecoder, ServerSentEvent
from farshore_protocol.commands import lifecycle
from hypothesis import given
from hypothesis import strategies as st


def decode(*pieces: str) -> list[ServerSentEvent]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


WIRE = (
    ": keep-alive\r\n\r\nid: 7\revent: node.online\rdata: {\"a\":\rdata: \u2028 1}\r\r"
    "data:two\n\nid: 9\n\nevent: x\n\ndata: cut off"
)  # fmt: skip


def test_events_are_read_as_the_standard_says() -> None:
    assert decode(WIRE) == [
        ServerSentEvent(id="7", event="node.online", data='{"a":\n\u2028 1}'),
        ServerSentEvent(id="7", event="message", data="two"),
    ]


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
def test_where_the_pieces_are_cut_does_not_matter(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WIRE)]
    pieces = [WIRE[a:b] for a, b in pairwise(edges)]
    assert decode(*pieces) == decode(WIRE)


ranges = st.tuples(st.integers(1, 500), st.integers(0, 50)).map(lambda p: [p[0], p[0] + p[1]])


@given(st.integers(0, 1000), st.integers(0, 1000), st.lists(ranges, max_size=4))
def test_a_book_is_complete_exactly_when_everything_is_accounted_for(
    accepted: int, head: int, lost: list[list[int]]
) -> None:
    item: dict[str, Any] = {
        "stream": "metrics", "epoch": "k3", "accepted": accepted, "duplicates": 0, "head": head,
        "holes": [], "lost": [{"range": pair, "reason": "quota"} for pair in lost],
    }  # fmt: skip
    declared = sum(b - a + 1 for a, b in lost)
    book = read_book(item)
    assert book.in_flight == max(0, head - accepted - declared)
    assert (verdict([book]) == COMPLETE) == (accepted + declared >= head)


def test_reasons_are_added_up() -> None:
    losses = [([1, 3], "quota"), ([5, 5], "disk"), ([7, 8], "quota")]
    item: dict[str, Any] = {
        "stream": "m", "epoch": "e", "accepted": 0, "duplicates": 0, "head": 8, "holes": [[4, 4]],
        "lost": [{"range": pair, "reason": reason} for pair, reason in losses],
    }  # fmt: skip
    assert read_book(item).reasons == ("5 quota", "1 disk")
    assert verdict([]) == "no records yet"


def target(state: str, **more: Any) -> dict[str, Any]:
    return {"node": "pi-1", "state": state, "output": [], **more}


def event(
    state: str | None, node: str = "pi-1", command: str = "c1", **data: Any
) -> dict[str, Any]:
    data = {"state": state, **data}
    return {
        "id": 1,
        "at": "T",
        "kind": "command.target",
        "node": node,
        "command": command,
        "data": data,
    }


states = st.sampled_from(["queued", "sent", "running", *FINAL])


@given(st.lists(states, max_size=8))
def test_a_final_state_is_never_left_for_one_that_is_not(path: list[str]) -> None:
    command: Any = {"id": "c1", "targets": [target("queued")]}
    done = False
    for state in path:
        command = with_events(command, [event(state)])
        assert is_done(command) or not done
        done = is_done(command)
        assert command["summary"] == {command["targets"][0]["state"]: 1}
    assert done == any(state in FINAL for state in path)


def test_final_states_are_those_of_the_protocol() -> None:
    """Written out in the command line, which must not load the protocol's codecs to start."""
    assert set(FINAL) == lifecycle.FINAL


def test_events_of_others_change_nothing() -> None:
    command = {"id": "c1", "targets": [target("queued")]}
    assert with_events(command, [event("failed", command="c2")]) is command
    assert with_events(command, [{**event("failed"), "kind": "node.online"}]) is command
    assert with_events(command, [event("failed", node="pi-2")])["targets"] == command["targets"]


def test_many_events_at_once_are_the_same_as_one_after_the_other() -> None:
    command: Any = {"id": "c1", "targets": [target("queued"), {**target("sent"), "node": "pi-2"}]}
    moves = [event("running"), event("expired", node="pi-2", reason="no answer"), event("failed")]
    step_by_step: Any = command
    for move in moves:
        step_by_step = with_events(step_by_step, [move])
    assert with_events(command, moves) == step_by_step
    assert [first_line(each) for each in step_by_step["targets"]] == ["-", "no answer"]


def test_what_a_target_waits_for_is_said_with_its_end() -> None:
    command = {"id": "c1", "expires_at": "2026-03-01T10:01:00Z"}
    now_ms = 1772359200_000 + 13_000
    for waiting, said in (
        (target("queued"), "no word from the node yet; expires in 47s"),
        (target("queued", held=True, reason="held: restored"), "held: restored; expires in 47s"),
        (target("received", result={"ahead": 3}), "waits at the node, 3 ahead"),
        (target("running", cancelling=True), "asked to end it"),
        (target("running"), "-"),
        (target("expired", reason="node was not online"), "node was not online"),
    ):
        assert says_now(command, waiting, now_ms) == said


def test_output_comes_once_and_in_order() -> None:
    late = {"offset": 3, "stream": "stdout", "text": "def"}
    early = {"offset": 0, "stream": "stdout", "text": "abc"}
    command: Any = {"id": "c1", "targets": [target("running", output=[late])]}
    command = with_events(command, [event(None, output=[early, late])])
    assert command["targets"][0]["state"] == "running"
    assert output_of(command["targets"][0]) == "abcdef"


def test_the_one_line_says_what_matters_most() -> None:
    said = {"output": [{"offset": 0, "stream": "stderr", "text": "\n  no\x07 file\nmore"}]}
    assert first_line(target("queued")) == "-"
    assert first_line(target("succeeded", result={"rtt_ms": 3, "x": None})) == "rtt_ms=3"
    assert first_line(target("succeeded", result={"exit_code": 0}, **said)) == "no\\x07 file"
    assert (
        first_line(target("failed", result={"exit_code": 2}, **said)) == "exit code 2: no\\x07 file"
    )
    assert first_line(target("rejected", reason="policy")) == "policy"


def test_nothing_to_do_is_done() -> None:
    """It is made only for who says --allow-empty."""
    assert all_succeeded({"id": "c1", "targets": []})
    assert is_done({"id": "c1", "targets": [], "done": True})
    assert summary_text({"failed": 1, "succeeded": 1200}) == "1,200 succeeded, 1 failed"


def test_the_tree_of_groups_hangs_children_on_their_parents() -> None:
    paths = ["core", "eu", "eu/hamburg"]
    tree = groups_tree([{"path": path, "nodes": 2, "online": 1} for path in paths])
    assert [str(branch.label) for branch in tree.children] == [
        "core  1 of 2 online", "eu  1 of 2 online",
    ]  # fmt: skip
    assert [str(leaf.label) for leaf in tree.children[1].children] == ["hamburg  1 of 2 online"]
