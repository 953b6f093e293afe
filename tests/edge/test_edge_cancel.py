"""A command can be cancelled at each stage of its way, and says its place while it waits."""

import asyncio
import os
import sys
from typing import Any

import pytest
from edge.command_bench import EXEC, Bench
from edge.edge_bench import FailingDatabase, eventually
from farshore_edge.commands.queue import Lane
from farshore_edge.commands.verbs import cancel
from farshore_edge.commands.verbs import exec as exec_verb
from hypothesis import given
from hypothesis import strategies as st


def bench_of(at_once: int = 8, disk: FailingDatabase | None = None) -> Bench:
    bench = Bench(disk, at_once=at_once)
    bench.handlers["cancel"] = cancel.cancel(bench.service.cancel)
    return bench


async def ended(bench: Bench, command_id: str) -> Any:
    await eventually(lambda: bench.reports(command_id))
    await eventually(lambda: command_id not in bench.service.running())
    return bench.reports(command_id)[-1]


async def test_what_runs_is_cancelled_and_its_processes_are_ended(tmp_path: Any) -> None:
    bench = bench_of()
    bench.handlers["exec"] = exec_verb.run
    script = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('asked', flush=True), sys.exit(3)))\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    bench.take("exec", id="c1", args={"argv": [sys.executable, "-S", "-c", script]})
    await eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    bench.take("cancel", id="k1", args={"id": "c1"})
    word = await ended(bench, "k1")
    assert (word.state, word.result) == (
        "succeeded",
        {"id": "c1", "state": "cancelled", "cancelled": True},
    )
    assert bench.way("c1")[-1] == "cancelled"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    await bench.service.stop()
    await bench.outbox.close()


async def test_what_waits_says_its_place_and_cancelled_it_never_runs() -> None:
    bench = bench_of(at_once=1)
    bench.take("exec", id="c1", args=EXEC)
    await eventually(lambda: bench.runs)
    bench.take("exec", id="c2", args=EXEC)
    bench.take("exec", id="c3", args=EXEC)
    await eventually(lambda: bench.reports("c3"))
    [c2], [c3] = bench.reports("c2"), bench.reports("c3")
    assert (c2.state, c2.result) == ("received", {"ahead": 0})
    assert (c3.state, c3.result) == ("received", {"ahead": 1})
    assert bench.service.waiting() == ["c2", "c3"]
    bench.take("cancel", id="k1", args={"id": "c2"})
    assert (await ended(bench, "k1")).result["cancelled"] is True
    bench.may_end.set()
    assert (await ended(bench, "c3")).state == "succeeded"
    await bench.idle()
    assert bench.way("c2") == ["received", "cancelled"]
    assert len(bench.runs) == 2
    await bench.service.stop()
    await bench.outbox.close()


async def test_what_only_asks_does_not_wait_behind_what_does_something() -> None:
    bench = bench_of(at_once=1)
    for name in ("c1", "c2", "c3"):
        bench.take("exec", id=name, args=EXEC)
    bench.take("ping", id="p1")
    assert (await ended(bench, "p1")).state == "succeeded"
    assert len(bench.service.running()) == 3
    await bench.service.stop()
    await bench.outbox.close()


async def test_what_is_at_its_end_stays_so_and_says_it_again() -> None:
    bench = bench_of()
    bench.take("ping", id="p1")
    await bench.idle()
    bench.take("cancel", id="k1", args={"id": "p1"})
    word = await ended(bench, "k1")
    assert word.result == {"id": "p1", "state": "succeeded", "cancelled": False}
    assert [report.state for report in bench.reports("p1")] == ["succeeded", "succeeded"]
    await bench.service.stop()
    await bench.outbox.close()


async def test_a_cancel_that_overtakes_its_command_keeps_it_from_running() -> None:
    bench = bench_of()
    bench.take("cancel", id="k1", args={"id": "c1", "verb": "exec"})
    assert (await ended(bench, "k1")).result["cancelled"] is True
    bench.take("exec", id="c1", args=EXEC)
    await bench.idle()
    assert bench.runs == []
    assert [report.state for report in bench.reports("c1")] == ["cancelled", "cancelled"]
    await bench.service.stop()
    await bench.outbox.close()


async def test_a_cancel_does_not_wait_for_itself() -> None:
    bench = bench_of()
    bench.take("cancel", id="k1", args={"id": "k1"})
    word = await ended(bench, "k1")
    assert word.error is not None
    assert (word.state, word.error.code) == ("failed", "bad_args")
    await bench.service.stop()
    await bench.outbox.close()


async def test_who_waits_keeps_its_turn_over_a_crash() -> None:
    bench = bench_of(at_once=1)
    bench.take("exec", id="c1", args=EXEC)
    await eventually(lambda: bench.runs)
    bench.take("exec", id="c2", args=EXEC)
    await eventually(lambda: bench.reports("c2"))
    again = bench_of(at_once=1, disk=bench.disk)  # the first is left as it is: a crash
    again.may_end.set()
    await again.service.recover()
    await eventually(lambda: again.way("c2")[-1:] == ["succeeded"])
    assert again.way("c1")[-1] == "interrupted"
    assert len(again.runs) == 1
    for each in (bench, again):
        await each.service.stop()
    await again.outbox.close()


@given(st.data())
def test_a_lane_never_has_more_than_its_places_and_forgets_nobody(data: st.DataObject) -> None:
    places = data.draw(st.integers(1, 3))
    deeds = data.draw(st.lists(st.sampled_from(["come", "go", "give up"]), max_size=40))

    async def story() -> None:
        lane = Lane(places, patience_s=1e9)
        inside: list[str] = []
        order: list[str] = []
        leave: dict[str, asyncio.Event] = {}
        tasks: dict[str, asyncio.Task[None]] = {}

        async def nobody(_ahead: int) -> None: ...

        async def visit(name: str) -> None:
            async with lane.place(name, nobody):
                inside.append(name)
                order.append(name)
                assert len(inside) <= places
                try:
                    await leave[name].wait()
                finally:
                    inside.remove(name)

        for number, deed in enumerate(deeds):
            open_ = [name for name, task in tasks.items() if not task.done()]
            if deed == "come":
                name = f"{number:03d}"
                leave[name] = asyncio.Event()
                tasks[name] = asyncio.create_task(visit(name))
            elif open_:
                name = data.draw(st.sampled_from(open_))
                leave[name].set() if deed == "go" else tasks[name].cancel()
            for _ in range(data.draw(st.integers(0, 3))):
                await asyncio.sleep(0)
        for event in leave.values():
            event.set()
        await asyncio.wait_for(_all(tasks.values()), 5)
        assert order == sorted(order), "who came first goes first"
        assert not lane.waiting()
        for number in range(places):  # every place is free again
            await lane.place(f"last{number}", nobody).__aenter__()

    asyncio.run(story())


async def _all(tasks: Any) -> None:
    if tasks := list(tasks):
        await asyncio.wait(tasks)
