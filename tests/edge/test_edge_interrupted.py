"""The agent ends or dies while commands run: each is resolved once, and asked for is answered."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from edge.command_bench import EXEC, Bench
from edge.edge_bench import FailingDatabase, eventually
from farshore_edge.database import Change, CommandRow
from farshore_protocol.commands import NODE_COMMAND


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.service.stop()
    await made.outbox.close()


async def test_an_orderly_stop_interrupts_what_runs_and_takes_nothing_more(bench: Bench) -> None:
    bench.take("exec", id="c1", args=EXEC)
    await eventually(lambda: bench.runs)
    await bench.service.stop()
    bench.take("ping", id="c2")
    await bench.idle()
    assert bench.way("c1") == ["accepted", "running", "interrupted"]
    assert bench.disk.command("c2") is None


async def test_a_stop_at_the_very_moment_of_the_end_loses_no_result(bench: Bench) -> None:
    bench.take("exec", id="c1", args=EXEC)
    await eventually(lambda: bench.runs)
    bench.disk.gate.clear()
    bench.may_end.set()
    for _ in range(5):
        await asyncio.sleep(0)
    stopping = asyncio.create_task(bench.service.stop())
    for _ in range(5):
        await asyncio.sleep(0)
    bench.disk.gate.set()
    await stopping
    assert bench.way("c1") == ["accepted", "running", "succeeded"]


@pytest.mark.parametrize("state", ["accepted", "running"])
async def test_after_a_crash_a_command_is_reported_interrupted_and_not_run_again(
    state: str,
) -> None:
    disk = FailingDatabase()
    await disk.commit(_change(state, "exec", b'{"id":"c1","args":{"argv":["true"]}}'))
    again = Bench(disk)
    await again.service.recover()
    await again.idle()
    assert again.runs == []
    [report] = again.reports("c1")
    assert report.state == "interrupted"
    assert [via for via, _ in report.via] == [state]
    assert report.error is not None
    assert report.error.code == "interrupted"
    await again.service.recover()
    assert len(again.reports("c1")) == 1, "once"


@pytest.mark.parametrize("state", ["accepted", "running"])
async def test_after_a_crash_an_idempotent_verb_is_run_again(state: str) -> None:
    disk = FailingDatabase()
    await disk.commit(_change(state, "ping", b'{"id":"c1"}'))
    again = Bench(disk)
    await again.service.recover()
    again.take("ping", id="c1")
    await again.idle()
    assert len(again.runs) == 1
    assert again.way("c1") == [state, "interrupted", "running", "succeeded"]
    assert all(b in NODE_COMMAND.table[a] for a, b in pairwise(again.way("c1")))


@pytest.mark.parametrize(
    "request_bytes", [b"no json", b'{"id":"c1","args":{"argv":5}}'], ids=["unreadable", "unfit"]
)
async def test_a_command_that_cant_be_run_again_is_resolved_all_the_same(
    request_bytes: bytes,
) -> None:
    disk = FailingDatabase()
    await disk.commit(_change("running", "facts", request_bytes))
    again = Bench(disk)  # it has no handler for facts
    await again.service.recover()
    await again.idle()
    assert again.way("c1")[-1] == "interrupted"
    assert disk.unfinished_commands() == []


def _change(state: str, verb: str, request_bytes: bytes) -> Change:
    row = CommandRow(id="c1", verb=verb, state=state, at_ms=1, request=request_bytes)
    return Change(commands=[row])


async def test_a_question_about_an_unknown_command_runs_nothing_now_or_later(bench: Bench) -> None:
    """The node's ledger is gone: nobody knows what was done, and a late copy must not do it again."""
    bench.take("exec", id="c1", args=EXEC, ask=True)
    await bench.idle()
    assert bench.way("c1") == ["interrupted"]
    (answer,) = bench.reports("c1")
    assert answer.error is not None
    assert answer.error.code == "ledger_lost"
    bench.take("exec", id="c1", args=EXEC)
    await bench.idle()
    assert bench.runs == []


async def test_a_question_about_what_has_ended_is_answered_with_the_end(bench: Bench) -> None:
    bench.may_end.set()
    bench.take("exec", id="c1", args=EXEC)
    await bench.idle()
    bench.take("exec", id="c1", ask=True)
    await bench.idle()
    assert [report.state for report in bench.reports("c1")] == ["succeeded", "succeeded"]
    assert len(bench.runs) == 1


async def test_a_question_about_what_runs_is_answered_by_its_end(bench: Bench) -> None:
    bench.take("exec", id="c1", args=EXEC)
    await eventually(lambda: bench.runs)
    bench.take("exec", id="c1", ask=True)
    bench.may_end.set()
    await bench.idle()
    assert bench.way("c1") == ["accepted", "running", "succeeded"]


async def test_while_the_ledger_cant_be_read_a_question_has_no_answer(bench: Bench) -> None:
    """It may hold the command; the center asks again."""
    bench.disk.reads_fail = True
    bench.take("exec", id="c1", args=EXEC, ask=True)
    await bench.idle()
    bench.disk.reads_fail = False
    assert bench.reports("c1") == []
    bench.take("exec", id="c1", args=EXEC, ask=True)
    await bench.idle()
    assert bench.way("c1") == ["interrupted"]
