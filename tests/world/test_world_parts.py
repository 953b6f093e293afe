"""The parts of a simulated world: time, owners, clocks, plans, shrinking."""

import asyncio
import random
import sqlite3
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from farshore_center.db.tables import metadata
from farshore_edge.database import Change, Record
from farshore_protocol.stream import RangeSet
from farshore_sim.cli import app
from farshore_sim.world.clock import EPOCH_MS, WorldClock
from farshore_sim.world.disk import Disk
from farshore_sim.world.faults import KINDS, Fault, PlanError, draw, read
from farshore_sim.world.injector import _OF_ALL, _OF_NODES
from farshore_sim.world.invariants import _fits
from farshore_sim.world.loop import Owner, StandstillError, VirtualLoop
from farshore_sim.world.restores import Restores
from farshore_sim.world.shrink import shrink
from farshore_sim.world.store import CenterStore
from farshore_sim.world.task_faults import _FAULTS
from farshore_sim.world.witness import Witness
from world.mutants import MUTANTS, RARE


def run(work: Coroutine[Any, Any, Any]) -> VirtualLoop:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
    return loop


def test_waiting_costs_no_time_and_takes_exactly_as_long() -> None:
    seen = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(asyncio.sleep(hours * 3600) for hours in (3, 1, 2)))
        seen.append(loop.time())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        seen.append(loop.time())

    run(work())
    assert seen == [10_800.0, 10_860.0]


def test_who_waits_for_nothing_is_told() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(StandstillError, match="nothing is ready"):
        run(work())


def test_a_world_that_runs_in_circles_is_told() -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()

        def again() -> None:
            loop.call_soon(again)

        again()
        await asyncio.Event().wait()

    with pytest.raises(StandstillError, match="runs in circles"):
        run(work())


def test_threads_are_not_threads() -> None:
    async def work() -> None:
        assert await asyncio.to_thread(lambda: 42) == 42
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)

    run(work())


def test_the_killed_do_not_even_say_finally() -> None:
    said: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(10)
            said.append("woke")
        except asyncio.CancelledError:
            said.append("cancelled")
        finally:
            said.append("finally")

    async def parent() -> None:
        own = asyncio.create_task(child())
        await asyncio.shield(own)

    async def work() -> None:
        owner = Owner("victim")
        owner.spawn(parent(), "parent")
        asyncio.get_running_loop().call_later(5, said.append, "the others live on")
        await asyncio.sleep(1)
        owner.kill()
        await asyncio.sleep(100)
        assert said == ["the others live on"]
        owner.bury()

    run(work())


def test_a_wall_clock_jumps_and_the_monotonic_one_does_not() -> None:
    now_s = 0.0
    clock = WorldClock(lambda: now_s)
    assert clock.now_ms() == EPOCH_MS
    clock.set_wall(0)
    now_s = 10.0
    assert (clock.now_ms(), clock.monotonic_s()) == (10_000, 1010.0)
    clock.drift(1.5)
    now_s = 12.0
    assert (clock.now_ms(), clock.monotonic_s()) == (13_000, 1013.0)


def test_a_seed_draws_one_plan() -> None:
    assert draw(7, nodes=5, hours=1) == draw(7, nodes=5, hours=1)
    assert draw(7, nodes=5, hours=1) != draw(8, nodes=5, hours=1)


def test_every_kind_of_fault_can_be_made() -> None:
    assert set(KINDS) == {*_OF_NODES, *_OF_ALL, *_FAULTS}
    assert {name for name, kind in KINDS.items() if kind.tasks} == set(_FAULTS)
    assert all(KINDS[name].node for name in _OF_NODES)


def test_every_kind_is_drawn() -> None:
    plans = [
        draw(seed, nodes=3, hours=1, tasks=tasks) for seed in range(60) for tasks in (False, True)
    ]
    assert {fault.kind for plan in plans for fault in plan.faults} == set(KINDS)


def test_a_file_that_holds_no_plan_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text('{"seed": "one"}')
    with pytest.raises(PlanError, match=r"plan\.json"):
        read(path)


def test_what_does_not_matter_is_shrunk_away() -> None:
    culprits = {("crash", 1), ("center_crash", -1)}
    plan = replace(
        draw(1, nodes=6, hours=2),
        faults=tuple(
            [Fault(at_s=10.0 * i, kind="cut", node=i % 6) for i in range(1, 60)]
            + [Fault(at_s=700, kind="crash", node=1), Fault(at_s=800, kind="center_crash")]
        ),
    )
    runs = 0

    def fails(candidate: Any) -> bool:
        nonlocal runs
        runs += 1
        return culprits <= {(fault.kind, fault.node) for fault in candidate.faults}

    small = shrink(plan, fails)
    assert {(fault.kind, fault.node) for fault in small.faults} == culprits
    assert len(small.faults) == 2
    assert small.nodes == 1 or small.nodes == 2
    assert small.hours < 0.25
    assert runs <= 300


@pytest.mark.parametrize(
    ("state", "effects", "sends", "forgotten", "fits"),
    [
        ("succeeded", 1, 1, False, True),
        ("succeeded", 0, 1, False, False),
        ("succeeded", 2, 3, False, False),
        ("failed", 1, 1, False, True),
        ("interrupted", 0, 1, False, True),
        ("interrupted", 1, 1, False, True),
        ("interrupted", 2, 2, False, False),
        ("expired", 0, 0, False, True),
        ("expired", 1, 2, False, False),
        ("expired", 1, 2, True, True),
        ("cancelled", 1, 0, False, False),
        ("cancelled", 1, 0, True, False),
    ],
)
def test_a_state_and_its_effects_go_together(
    state: str, effects: int, sends: int, forgotten: bool, fits: bool
) -> None:
    assert _fits(state, effects, sends, forgotten=forgotten) is fits


def test_what_the_node_itself_calls_cancelled_may_have_taken_effect_once() -> None:
    assert _fits("cancelled", 1, 1, forgotten=False, said=True)
    assert not _fits("cancelled", 2, 2, forgotten=False, said=True)
    assert not _fits("cancelled", 1, 1, forgotten=False)


DOCS = (Path(__file__).parents[2] / "docs" / "world.md").read_text()


def test_every_option_kind_and_defect_stands_in_the_docs() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group
    options = {
        option for each in commands["world"].params for option in (*each.opts, *each.secondary_opts)
    }
    assert all(f"`{option}" in DOCS for option in options - {"--help"})
    assert all(f"`{kind}`" in DOCS for kind in KINDS)
    rows = DOCS.partition("| defect |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) == len(MUTANTS) + len(RARE)


def test_only_a_copy_of_a_time_that_was_left_crosses_what_came_since() -> None:
    async def work() -> None:
        witness = Witness(time_s=lambda: 0.0)
        disk = Disk(
            "node-1",
            time_s=lambda: 0.0,
            rng=random.Random(1),
            witness=witness,
            deleted=lambda *_: None,
        )
        epoch = disk.memory.streams()["events"].epoch

        async def write(seq: int, n: int) -> None:
            payload = b'{"data":{"n":%d}}' % n
            await disk.apply(
                Change(
                    records=[Record(stream="events", seq=seq, path="evt/world", payload=payload)]
                )
            )

        await write(1, 1)
        older = disk.copy()
        await write(2, 2)
        newer = disk.copy()
        disk.set_back(newer)
        disk.set_back(disk.copy())
        assert disk.crossed == set(), "a disk that goes back on its own way"
        before = disk.copy()
        disk.set_back(older)
        await write(2, 22)
        disk.set_back(before)
        assert disk.crossed == {("events", epoch, 1), ("events", epoch, 2)}

    run(work())


def test_only_a_copy_of_the_center_of_a_time_that_was_left_crosses() -> None:
    store = CenterStore(time_s=lambda: 0.0, rng=random.Random(1), committed=lambda: None)
    restores = Restores(store, Witness(time_s=lambda: 0.0))
    key = ("node-1", "metrics", "e1")
    stream_book = metadata.tables["stream_book"]

    def knows(accepted: bytes) -> None:
        with store.engine.begin() as connection:
            connection.execute(stream_book.delete())
            connection.execute(
                stream_book.insert().values(
                    **dict(zip(("node", "stream", "epoch"), key, strict=True)),
                    accepted=accepted,
                    created_ms=0,
                    updated_ms=0,
                )
            )

    def copied() -> sqlite3.Connection:
        copy = store.copy()
        assert copy is not None
        return copy

    with store.engine.begin() as connection:
        connection.execute(
            metadata.tables["center"].insert().values(id=1, database="d", since_ms=0)
        )
    knows(b"[[1,3]]")
    oldest = copied()
    knows(b"[[1,5]]")
    older = copied()
    knows(b"[[1,13]]")
    newer = copied()
    restores.set_back(newer, said=True)
    restores.set_back(older, said=True)
    knows(b"[[1,5],[12,15]]")
    on_the_new_way = copied()
    restores.set_back(on_the_new_way, said=True)
    assert restores.crossed == {}, "a center that goes back on its own way"
    restores.set_back(newer, said=True)
    assert restores.crossed == {key: RangeSet([(6, 13)])}, "not what both ways come from"
    restores.crossed.clear()
    restores.set_back(oldest, said=True)
    assert restores.crossed == {}, "a center that goes back on its own way"
    store.close()
