"""A command takes effect at most once, and each of its states is told once and in order."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from edge.command_bench import EXEC, Bench
from edge.edge_bench import eventually
from farshore_edge.commands import service as service_module
from farshore_edge.commands.by_hand import mark_of
from farshore_edge.commands.verbs import Context, Outcome
from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.commands import Command


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.service.stop()
    await made.outbox.close()


async def test_a_quick_command_is_one_report_with_its_whole_way(bench: Bench) -> None:
    bench.take("ping", id="c1")
    await bench.idle()
    [report] = bench.reports("c1")
    assert (report.verb, report.state, report.result) == ("ping", "succeeded", {"pong": True})
    assert [state for state, _ in report.via] == ["accepted", "running"]
    row = bench.disk.command("c1")
    assert row is not None
    assert (row.state, row.request) == ("succeeded", mark_of("ping", Command())), (
        "no more is kept of it"
    )


async def test_an_id_is_filled_in_where_it_is_missing(bench: Bench) -> None:
    bench.take("ping", b"")
    bench.take("ping", b"{}")
    await bench.idle()
    first, second = bench.reports()
    assert first.id != second.id
    assert len(first.id) == 26
    assert bench.disk.records("results", [1])[1].path == f"res/{first.id}"


async def test_a_longer_command_says_that_it_runs_and_then_how_it_ended(bench: Bench) -> None:
    bench.take("exec", id="c1", args=EXEC)
    await eventually(lambda: bench.reports("c1"))
    assert [r.state for r in bench.reports("c1")] == ["running"]
    bench.may_end.set()
    await bench.idle()
    assert bench.way("c1") == ["accepted", "running", "succeeded"] or bench.way("c1") == [
        "accepted",
        "running",
        "running",
        "succeeded",
    ]


async def test_a_duplicate_is_answered_with_what_is_recorded_and_not_run(bench: Bench) -> None:
    bench.take("ping", id="c1")
    await bench.idle()
    bench.take("ping", id="c1")
    await bench.idle()
    bench.take("ping", id="c1", args={}, ttl_s=5, iat=1)
    await bench.idle()
    assert len(bench.runs) == 1
    first, *again = bench.reports("c1")
    assert len(again) == 2
    assert [(r.state, r.result, r.via) for r in again] == [
        (first.state, first.result, first.via)
    ] * 2


async def test_what_a_secret_command_came_to_is_sent_and_not_remembered(bench: Bench) -> None:
    bench.may_end.set()
    args = {"argv": ["cat"], "stdin": "hush-hush"}
    bench.take("exec", id="c1", args=args, secret=True)
    await bench.idle()
    row = bench.outbox.command("c1")
    assert row is not None
    assert row.request == b""
    assert b"exit_code" not in (row.report or b"")
    bench.take("exec", id="c1", args=args, secret=True)
    await bench.idle()
    assert len(bench.runs) == 1
    first, again = bench.reports("c1")
    assert (first.state, first.result) == ("succeeded", {"exit_code": 0})
    assert (again.state, again.result) == ("succeeded", None)


async def test_a_duplicate_is_recognised_after_a_restart(bench: Bench) -> None:
    bench.take("ping", id="c1")
    await bench.idle()
    again = Bench(bench.disk)
    await again.service.recover()
    again.take("ping", id="c1")
    await again.idle()
    assert again.runs == []
    assert [r.state for r in again.reports("c1")] == ["succeeded", "succeeded"]


async def test_a_duplicate_of_what_runs_is_answered_by_its_end(bench: Bench) -> None:
    bench.take("exec", id="c1", args=EXEC)
    await eventually(lambda: bench.runs)
    bench.take("exec", id="c1", args=EXEC)
    bench.may_end.set()
    await bench.idle()
    assert len(bench.runs) == 1
    assert len([r for r in bench.reports("c1") if r.state == "succeeded"]) == 1


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        (b"{", "bad_json", "Command"),
        (b"\xff\xfe", "bad_json", "Command"),
        (b'{"args":{"x":' + b"[" * 90_000, "bad_json", ""),
        (b"[]", "bad_message", "object"),
        (b'{"ttl_s":"soon"}', "bad_message", "$.ttl_s"),
        (b'{"timeout_s":-1}', "bad_message", "$.timeout_s"),
        (b'{"id":"NOT A NAME"}', "bad_message", "$.id"),
        (b'{"args":{"x":"' + b"x" * MAX_MESSAGE_BYTES + b'"}}', "too_large", "bytes"),
    ],
)
async def test_what_cant_be_read_is_rejected_in_readable_words(
    bench: Bench, payload: bytes, code: str, words: str
) -> None:
    bench.take("ping", payload)
    await bench.idle()
    [report] = bench.reports()
    assert report.state == "rejected"
    assert report.error is not None
    assert report.error.code == code
    assert words in report.error.message
    assert bench.runs == []


async def test_a_wrong_command_is_rejected_under_its_own_id_but_spoils_no_other(
    bench: Bench,
) -> None:
    bench.take("ping", b'{"id":"c1","args":5}')
    await bench.idle()
    assert bench.way("c1") == ["rejected"]
    bench.take("ping", id="c2")
    await bench.idle()
    bench.take("ping", b'{"id":"c2","args":5}')
    await bench.idle()
    assert [r.state for r in bench.reports("c2")] == ["succeeded"]
    [told] = [r for r in bench.reports() if r.id not in ("c1", "c2")]
    assert told.error is not None
    assert (told.state, told.error.code) == ("rejected", "id_conflict")


@pytest.mark.parametrize("name", ["commits_fail", "reads_fail"])
async def test_without_its_ledger_nothing_is_run(bench: Bench, name: str) -> None:
    setattr(bench.disk, name, True)
    bench.take("ping", id="c1")
    await bench.idle()
    assert bench.runs == []
    setattr(bench.disk, name, False)
    bench.take("ping", id="c1")
    await bench.idle()
    assert len(bench.runs) == 1
    assert bench.way("c1") == ["accepted", "running", "succeeded"]


async def test_a_result_that_the_disk_refuses_is_told_later_and_recorded(bench: Bench) -> None:
    bench.take("exec", id="c1", args=EXEC)
    await eventually(lambda: bench.runs)
    bench.disk.commits_fail = True
    bench.may_end.set()
    await bench.idle()
    bench.take("exec", id="c1", args=EXEC)
    await bench.idle()
    bench.disk.commits_fail = False
    await eventually(lambda: bench.reports("c1"))
    assert {r.state for r in bench.reports("c1")} == {"succeeded"}
    assert len(bench.runs) == 1
    row = bench.disk.command("c1")
    assert row is not None
    assert row.state == "succeeded"


async def test_no_more_run_at_once_than_allowed_and_who_waits_too_long_expires() -> None:
    bench = Bench(at_once=2)
    for n in range(4):
        bench.take("exec", id=f"c{n}", args=EXEC, ttl_s=60)
    await eventually(lambda: len(bench.runs) == 2)
    assert len(bench.service.running()) == 4
    bench.clock.set_wall(bench.clock.now_ms() + 3_600_000)  # a jump is no waiting
    bench.may_end.set()
    await bench.idle()
    assert [bench.way(f"c{n}")[-1] for n in range(4)] == ["succeeded"] * 4
    bench.may_end.clear()
    for n in range(4, 7):
        bench.take("exec", id=f"c{n}", args=EXEC, ttl_s=60)
    await eventually(lambda: len(bench.runs) == 6)
    bench.clock.advance(61)
    bench.may_end.set()
    await bench.idle()
    assert bench.way("c6") == ["expired"]
    assert len(bench.runs) == 6


async def test_a_flood_is_bounded_and_what_is_dropped_leaves_no_trace(bench: Bench) -> None:
    for n in range(service_module.WAITING_MAX + 50):
        bench.take("exec", id=f"c{n}", args=EXEC)
    for _ in range(50):
        bench.take("exec", b"{")
    assert len(bench.service.running()) == service_module.WAITING_MAX
    bench.may_end.set()
    await bench.idle()
    assert bench.disk.command(f"c{service_module.WAITING_MAX}") is None


async def test_a_timeout_ends_a_verb(bench: Bench) -> None:
    async def hang(_args: Any, _context: Context) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    bench.handlers["ping"] = hang
    bench.take("ping", id="c1", timeout_s=0.01)
    await bench.idle()
    [report] = bench.reports("c1")
    assert report.state == "timed_out"
    assert report.error is not None
    assert "0.01 s" in report.error.message


async def test_a_verb_that_raises_fails_and_says_why(bench: Bench) -> None:
    async def broken(_args: Any, _context: Context) -> Outcome:
        raise KeyError("sensor")

    bench.handlers["ping"] = broken
    bench.take("ping", id="c1")
    await bench.idle()
    [report] = bench.reports("c1")
    assert report.error is not None
    assert (report.state, report.error.code) == ("failed", "broken")
    assert report.error.message == "KeyError: 'sensor'"


@pytest.mark.parametrize(
    ("result", "code"),
    [({"x": "y" * MAX_MESSAGE_BYTES}, "too_large"), ({"x": 2**80}, "broken")],
)
async def test_a_result_that_cant_travel_makes_the_command_fail(
    bench: Bench, result: dict[str, Any], code: str
) -> None:
    async def large(_args: Any, _context: Context) -> Outcome:
        return Outcome(result=result)

    bench.handlers["ping"] = large
    bench.take("ping", id="c1")
    await bench.idle()
    [report] = bench.reports("c1")
    assert report.error is not None
    assert (report.state, report.error.code, report.result) == ("failed", code, None)
