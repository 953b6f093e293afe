"""Commands that people write by hand: tied together in a group, never taken for another, never silent."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from edge.command_bench import EXEC, Bench
from farshore_edge.commands import service as service_module
from farshore_edge.commands.by_hand import (
    ARGS_TOLD_MAX_BYTES,
    GROUP_PERIOD_MS,
    group_id,
    mark_of,
    told_of,
)
from farshore_edge.commands.verbs import Context, Outcome
from farshore_edge.unheard import AGAIN_AFTER_S, KINDS_KEPT, Unheard
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.commands import ByHand, Command
from farshore_protocol.names import is_name
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    made.may_end.set()
    await made.service.stop()
    await made.outbox.close()


def said(bench: Bench, verb: str, payload: bytes, group: str | None = "eu") -> None:
    bench.service.take(verb, payload, group)


# Ids of group commands

WORDS = st.tuples(
    st.sampled_from(["eu", "eu/hamburg", "all"]),
    st.sampled_from(["ping", "exec"]),
    st.binary(max_size=20),
    st.integers(0, 2**45),
)


def plain_id(word: tuple[str, str, bytes, int], used: set[str] | None = None) -> str | None:
    group, verb, payload, now_ms = word
    return group_id(group, verb, payload, now_ms=now_ms, is_used=(used or set()).__contains__)


@given(word=WORDS, other=WORDS)
def test_the_id_of_a_group_command_is_that_of_what_was_said_and_when(
    word: tuple[str, str, bytes, int], other: tuple[str, str, bytes, int]
) -> None:
    one = plain_id(word)
    assert one is not None
    assert is_name(one)
    same = word[:3] == other[:3] and word[3] // GROUP_PERIOD_MS == other[3] // GROUP_PERIOD_MS
    assert (one == plain_id(other)) is same


@given(word=WORDS, times=st.integers(1, 120))
def test_said_again_it_is_another_command_in_the_same_order_everywhere(
    word: tuple[str, str, bytes, int], times: int
) -> None:
    here: set[str] = set()
    there: set[str] = set()
    for n in range(times):
        mine, its = plain_id(word, here), plain_id(word, there)
        assert mine == its
        if mine is None:
            assert n >= 100, "so often that the node makes up its own"
            return
        assert mine not in here
        assert is_name(mine)
        here.add(mine)
        there.add(mine)


async def test_nodes_give_a_group_command_the_same_id_and_each_saying_is_done(
    bench: Bench,
) -> None:
    other = Bench()
    for each in (bench, other):
        for _ in range(2):
            said(each, "ping", b"{}")
        await each.idle()
        assert len(each.runs) == 2
    ids = sorted({r.id for r in bench.reports()})
    assert ids == sorted({r.id for r in other.reports()})
    assert len(ids) == 2
    assert ids[1] == f"{ids[0]}-2"
    assert {r.by_hand.group for r in bench.reports() if r.by_hand} == {"eu"}
    await other.service.stop()
    await other.outbox.close()


async def test_a_group_command_is_done_again_after_a_restart_within_the_minute(
    bench: Bench,
) -> None:
    said(bench, "ping", b"{}")
    await bench.idle()
    again = Bench(bench.disk)
    await again.service.recover()
    said(again, "ping", b"{}")
    await again.idle()
    assert len(again.runs) == 1, "it is a command of its own, and no duplicate"


async def test_an_id_of_ones_own_is_the_id_in_a_group_too(bench: Bench) -> None:
    said(bench, "ping", b'{"id":"mine"}')
    said(bench, "ping", b'{"id":"mine"}')
    await bench.idle()
    assert {r.id for r in bench.reports()} == {"mine"}
    assert len(bench.runs) == 1


async def test_garbage_to_a_group_is_refused_under_one_id(bench: Bench) -> None:
    said(bench, "exec", b"{argv")
    await bench.idle()
    [report] = bench.reports()
    assert report.id.startswith("group-")
    assert report.error is not None
    assert report.error.code == "bad_json"
    assert "expected a JSON object" in report.error.message


# Ids with other content


def conflicts(bench: Bench) -> list[Any]:
    return [r for r in bench.reports() if r.error is not None and r.error.code == "id_conflict"]


@pytest.mark.parametrize(
    ("verb", "args"),
    [("exec", {"argv": ["reboot"]}), ("ping", {}), ("exec", {"argv": ["true"], "cwd": "/"})],
)
@pytest.mark.parametrize("when", ["running", "ended", "after a restart"])
async def test_an_id_that_was_used_for_something_else_is_refused_and_nothing_is_done(
    bench: Bench, verb: str, args: dict[str, Any], when: str
) -> None:
    bench.take("exec", id="c1", args=EXEC)
    at = bench
    if when == "running":
        for _ in range(200):
            await asyncio.sleep(0)
    else:
        bench.may_end.set()
        await bench.idle()
    if when == "after a restart":
        at = Bench(bench.disk)
        await at.service.recover()
    at.take(verb, id="c1", args=args)
    at.take(verb, id="c1", args=args)
    bench.may_end.set()
    await at.idle()
    await bench.idle()
    assert len(bench.runs) + (0 if at is bench else len(at.runs)) == 1
    told = conflicts(at)
    assert {r.state for r in told} == {"rejected"}
    assert len({r.id for r in told}) == 1, "the same is answered the same"
    assert told[0].id.startswith("conflict-")
    assert "c1" in told[0].error.message
    assert told[0].by_hand == ByHand(args=args)
    assert bench.way("c1")[-1] == "succeeded"


async def test_the_same_content_is_a_duplicate_however_it_is_written(bench: Bench) -> None:
    bench.may_end.set()
    bench.take("exec", b'{"id":"c1","args":{"argv":["a"],"cwd":"/"}}')
    await bench.idle()
    bench.take("exec", b'{ "args": {"cwd":"/", "argv":["a"]}, "timeout_s": 5, "id": "c1" }')
    await bench.idle()
    assert conflicts(bench) == []
    assert len(bench.runs) == 1


async def test_what_an_older_agent_recorded_is_taken_for_the_same(bench: Bench) -> None:
    bench.take("ping", id="c1")
    await bench.idle()
    row = bench.disk.command("c1")
    assert row is not None
    from farshore_edge.database import Change

    await bench.disk.commit(Change(commands=[replace(row, request=b"")]))
    bench.take("exec", id="c1", args=EXEC)
    await bench.idle()
    assert conflicts(bench) == []
    assert len(bench.runs) == 1


def test_marks_differ_where_what_is_asked_for_differs() -> None:
    assert mark_of("exec", Command(args={"a": 1, "b": 2})) == mark_of(
        "exec", Command(args={"b": 2, "a": 1})
    )
    assert mark_of("exec", Command(args={"a": 1})) != mark_of("exec", Command(args={"a": 2}))
    assert mark_of("exec", Command()) != mark_of("ping", Command())


def test_of_a_secret_command_and_of_a_question_nothing_is_kept_that_could_contradict() -> None:
    secret = Command(args={"argv": ["set", "the word"]}, secret=True)
    assert mark_of("exec", secret) == b""
    assert told_of(secret, "eu") == {"group": "eu", "args": None}
    assert mark_of("exec", Command(id="c1", ask=True)) == b""


async def test_a_question_about_what_runs_is_no_contradiction(bench: Bench) -> None:
    bench.may_end.set()
    bench.take("exec", id="c1", args=EXEC)
    await bench.idle()
    bench.take("exec", id="c1", ask=True)
    await bench.idle()
    assert conflicts(bench) == []
    assert len(bench.runs) == 1


# Empty payloads


async def test_an_empty_payload_does_only_what_changes_nothing(bench: Bench) -> None:
    async def restart(_args: Any, _context: Context) -> Outcome:
        raise AssertionError("a retained command was cleared, and done")

    bench.handlers["config-retry"] = restart
    bench.take("ping", b"")
    bench.take("config-retry", b"")
    await bench.idle()
    told = {r.verb: r for r in bench.reports()}
    assert told["ping"].state == "succeeded"
    assert told["config-retry"].state == "rejected"
    assert told["config-retry"].error is not None
    assert told["config-retry"].error.code == "empty_payload"


# What the center is told


async def test_a_report_says_what_a_person_asked_for(bench: Bench) -> None:
    bench.take("exec", id="c1", args=EXEC)
    await asyncio.sleep(0)
    bench.may_end.set()
    await bench.idle()
    first, last = bench.reports("c1")[0], bench.reports("c1")[-1]
    assert first.by_hand == last.by_hand == ByHand(args=EXEC)


async def test_a_report_on_a_centers_command_does_not(bench: Bench) -> None:
    bench.take("ping", id="c1", iat=1_700_000_000_000)
    await bench.idle()
    assert [r.by_hand for r in bench.reports("c1")] == [None]


async def test_arguments_that_are_too_large_are_not_told_but_their_size(bench: Bench) -> None:
    bench.may_end.set()
    args = {"argv": ["x" * ARGS_TOLD_MAX_BYTES]}
    bench.take("exec", id="c1", args=args)
    await bench.idle()
    [report] = bench.reports("c1")
    assert report.by_hand == ByHand(args=None, args_bytes=len(orjson.dumps(args)))


async def test_a_result_that_needs_all_the_room_gets_it(bench: Bench) -> None:
    async def large(_args: Any, _context: Context) -> Outcome:
        return Outcome(result={"x": "y" * (92 * 1024 - 10)})

    bench.handlers["exec"] = large
    bench.take("exec", id="c1", args={"argv": ["x" * (ARGS_TOLD_MAX_BYTES - 20)]})
    await bench.idle()
    [report] = bench.reports("c1")  # which fits into a message
    assert report.state == "succeeded"


# What is no command


async def test_a_flood_is_told_of(bench: Bench) -> None:
    told: list[tuple[str, str]] = []
    bench.service._dropped = lambda verb, why: told.append((verb, why))
    for n in range(service_module.WAITING_MAX + 1):
        bench.take("exec", id=f"c{n}", args=EXEC)
    [(verb, why)] = told
    assert verb == "exec"
    assert f"{service_module.WAITING_MAX} commands" in why


class Listener:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.heard: list[dict[str, Any]] = []
        self.unheard = Unheard(self._tell, monotonic_s=self.clock.monotonic_s)

    async def _tell(self, stream: str, path: str, body: dict[str, Any]) -> int:
        assert (stream, path) == ("events", "evt/refused")
        assert len(orjson.dumps(body)) < MAX_MESSAGE_BYTES
        self.heard.append(body["data"])
        return 1

    async def note(self, topic: str, reason: str = "bad_topic") -> None:
        self.unheard.note(topic, reason, "why")
        await asyncio.sleep(0)


async def test_the_same_refusal_is_told_once_a_minute_with_how_often() -> None:
    listener = Listener()
    for _ in range(5):
        await listener.note("a")
    await listener.note("a", "retained")
    assert [(h["topic"], h["reason"], h["more"]) for h in listener.heard] == [
        ("a", "bad_topic", 0),
        ("a", "retained", 0),
    ]
    listener.clock.advance(AGAIN_AFTER_S)
    await listener.note("a")
    assert listener.heard[-1]["more"] == 4


async def test_garbage_of_a_thousand_kinds_is_not_a_thousand_events() -> None:
    listener = Listener()
    for n in range(1000):
        await listener.note(f"topic/{n}" + "x" * 5000)
    assert len(listener.heard) == KINDS_KEPT
    assert len(listener.unheard._since) <= KINDS_KEPT
