"""What a command writes comes while it runs, all of it once and in order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from itertools import pairwise
from typing import Any

import orjson
import pytest
from edge.command_bench import Bench
from farshore_edge.commands.teller import OUTPUT_MAX_BYTES, first_portion
from farshore_edge.commands.verbs import Context, Outcome
from farshore_protocol.commands import Output
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.service.stop()
    await made.outbox.close()


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


async def _after(event: asyncio.Event, work: Awaitable[None]) -> None:
    await event.wait()
    await work
