"""A command takes effect at most once, and each of its states is told once and in order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from edge.edge_bench import FailingDatabase, eventually, seeded_ids, timing
from farshore_edge.commands import CommandService, Policy
from farshore_edge.commands import service as service_module
from farshore_edge.commands.by_hand import mark_of
from farshore_edge.commands.ledger import Ledger
from farshore_edge.commands.teller import OUTPUT_MAX_BYTES, first_portion
from farshore_edge.commands.verbs import Context, Handler, Outcome
from farshore_edge.database import Change, CommandRow
from farshore_edge.outbox import Outbox
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import MAX_MESSAGE_BYTES, decode
from farshore_protocol.commands import NODE_COMMAND, Command, CommandReport, Output
from farshore_protocol.stream import Sender
from hypothesis import given
from hypothesis import strategies as st

EXEC = {"argv": ["true"]}


class Bench:
    """A service with verbs that the test controls; ``exec`` is one of them, no program runs."""

    def __init__(self, disk: FailingDatabase | None = None, *, at_once: int = 8) -> None:
        self.clock = ManualClock()
        self.disk = disk or FailingDatabase()
        self.runs: list[Any] = []
        self.may_end = asyncio.Event()
        self.outbox = Outbox(
            self.disk,
            Sender(),
            now=lambda: timing(self.clock),
            max_bytes=2**20,
            woken=lambda: None,
            retry_s=0.01,
        )
        self.handlers: dict[str, Handler] = {"ping": self._ping, "exec": self._exec}
        self.service = CommandService(
            Ledger(self.disk, self.outbox),
            self.handlers,
            policy=Policy.development(),
            ids=seeded_ids(),
            now_ms=self.clock.now_ms,
            monotonic_s=self.clock.monotonic_s,
            center_ms=lambda: None,
            at_once=at_once,
            output_max_bytes=2**20,
        )

    async def _ping(self, args: Any, _context: Context) -> Outcome:
        self.runs.append(args)
        return Outcome(result={"pong": True})

    async def _exec(self, args: Any, _context: Context) -> Outcome:
        self.runs.append(args)
        await self.may_end.wait()
        return Outcome(result={"exit_code": 0})

    def take(self, verb: str, word: Any = None, **fields: Any) -> None:
        payload = word if isinstance(word, bytes) else orjson.dumps(fields)
        self.service.take(verb, payload)

    async def idle(self) -> None:
        await eventually(lambda: not self.service.running())

    def reports(self, command_id: str | None = None) -> list[CommandReport]:
        records = self.disk.inner.records("results", range(1, 10_000))
        found = [decode(CommandReport, r.payload) for _, r in sorted(records.items())]
        for record in records.values():
            assert len(record.payload) <= MAX_MESSAGE_BYTES
        return [r for r in found if command_id in (None, r.id)]

    def way(self, command_id: str) -> list[str]:
        """All states that were told, those in passing included."""
        return [
            state
            for report in self.reports(command_id)
            for state in (*(via for via, _ in report.via), report.state)
        ]


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


# Output


async def test_output_comes_while_a_command_runs_and_all_of_it_once(bench: Bench) -> None:
    async def chatty(_args: Any, context: Context) -> Outcome:
        for n in range(40):
            await context.emit(Output(offset=n * 3000, stream="stdout", text="\x01" * 3000))
        return Outcome(result={"r": "x" * 15_000})

    bench.handlers["ping"] = chatty
    bench.take("ping", id="c1")
    await bench.idle()
    reports = bench.reports("c1")
    chunks = [chunk for report in reports for chunk in report.output]
    assert "".join(chunk.text for chunk in chunks) == "\x01" * 120_000
    assert [chunk.offset for chunk in chunks] == sorted({chunk.offset for chunk in chunks})
    assert [r.state for r in reports[:-1]] == ["running"] * (len(reports) - 1)
    assert reports[-1].state == "succeeded"
    assert sum(bool(r.via) for r in reports) == 2, "each state is passed once"


async def test_much_output_in_little_pieces_makes_few_reports(bench: Bench) -> None:
    async def drip(_args: Any, context: Context) -> Outcome:
        for n in range(400):
            await context.emit(Output(offset=n, stream="stdout", text="x"))
            await asyncio.sleep(0.001)
        return Outcome()

    bench.handlers["ping"] = drip
    bench.take("ping", id="c1")
    await bench.idle()
    assert 2 <= len(bench.reports("c1")) <= 8
    assert sum(len(r.output) for r in bench.reports("c1")) == 400


async def test_reports_of_a_command_that_ends_as_it_is_announced_stay_in_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farshore_edge.commands.teller.QUIET_S", 0.002)

    async def brief(_args: Any, context: Context) -> Outcome:
        await context.emit(Output(offset=0, stream="stdout", text="x"))
        await asyncio.sleep(0.002)
        return Outcome()

    bench.handlers["ping"] = brief
    for n in range(60):
        bench.take("ping", id=f"c{n}")
    await bench.idle()
    for n in range(60):
        reports = bench.reports(f"c{n}")
        told = [s for r in reports for s in (*(via for via, _ in r.via), r.state)]
        once = [state for i, state in enumerate(told) if i == 0 or told[i - 1] != state]
        assert once == ["accepted", "running", "succeeded"], told
        assert reports[-1].state == "succeeded", "nothing is said after the end"
        assert sum(len(r.output) for r in reports) == 1


async def test_a_verb_that_goes_on_talking_after_its_end_is_not_heard(bench: Bench) -> None:
    late: list[asyncio.Task[None]] = []
    it_ended = asyncio.Event()

    async def ghost(_args: Any, context: Context) -> Outcome:
        chunk = Output(offset=0, stream="stdout", text="x" * 10_000)
        late.append(asyncio.create_task(_after(it_ended, context.emit(chunk))))
        return Outcome()

    bench.handlers["ping"] = ghost
    bench.take("ping", id="c1")
    await bench.idle()
    it_ended.set()
    await late[0]
    assert bench.reports("c1")[-1].state == "succeeded"
    assert len([r for r in bench.reports("c1") if r.state == "succeeded"]) == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["stdout", "stderr"]), st.text(max_size=60), st.integers(1, 3000)
        ),
        max_size=8,
    )
)
def test_portions_fit_and_lose_nothing(drawn: list[tuple[Any, str, int]]) -> None:
    chunks, offset = [], 0
    for stream, text, times in drawn:
        chunks.append(Output(offset=offset, stream=stream, text=text * times))
        offset += len((text * times).encode())
    said: list[Output] = []
    rest = list(chunks)
    while rest:
        portion, rest = first_portion(rest)
        assert portion
        assert sum(len(orjson.dumps(c)) + 1 for c in portion) <= OUTPUT_MAX_BYTES
        said += portion
    assert "".join(c.text for c in said) == "".join(c.text for c in chunks)
    for before, after in pairwise(said):
        assert after.offset == before.offset + len(before.text.encode())


# The end of the agent, and the next beginning


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


async def _after(event: asyncio.Event, work: Awaitable[None]) -> None:
    await event.wait()
    await work


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
