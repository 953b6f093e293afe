"""Tasks in simulated worlds: the rules hold in every seed, and a rule that is broken is found."""

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from farshore_center.tasks.endings import Rules
from farshore_edge.tasks.drivers.model import Work
from farshore_edge.tasks.lease import Lease
from farshore_protocol.tasks.spec import Limits, Requests
from farshore_sim.fleet.task_programs import SimulatedSettings
from farshore_sim.world import world
from farshore_sim.world.clock import BOOT_S, WorldClock
from farshore_sim.world.faults import KINDS, Fault, Plan, draw
from farshore_sim.world.loop import Owner, VirtualLoop
from farshore_sim.world.lost_leases import LostLeases
from farshore_sim.world.task_faults import _FAULTS
from farshore_sim.world.task_specs import name_of, spec_of
from farshore_sim.world.workshop import WorldDriver, WorldRun, WorldWorkshop
from farshore_sim.world.world import run_plan
from world.task_mutants import MUTANTS, PLANS, Patch

SEEDS = 4
HINTS = {
    "end_of_the_lease_ignored_by_the_node": 2,
    "nobody_ends_it_when_its_agent_is_dead": 2,
    "begun_without_a_lease": 6,
    "agent_ends_what_it_finds": 10,
    "result_accepted_without_comparing_the_epoch": 15,
    "result_accepted_again": 15,
    "silent_site_ignored": 19,
    "what_died_is_not_begun_again": 3,
}
"""Where the search begins, so that it is short; it goes on when the seed has become another world."""


@pytest.mark.parametrize("first", [0, 20, 40])
def test_every_invariant_holds_with_tasks(first: int) -> None:
    found, runs = {}, 0
    for seed in range(first, first + SEEDS):
        outcome = run_plan(draw(seed, nodes=2 + seed % 2, hours=0.2, tasks=True))
        runs += outcome.counts.task_runs
        if outcome.violations:
            found[seed] = [str(violation) for violation in outcome.violations]
    assert runs > 5 * SEEDS, "worlds in which nothing runs prove nothing"
    assert not found, "replay: farshore-sim world --nodes (2, odd seeds 3) --hours 0.2 --tasks"


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_found(mutant: Any, monkeypatch: Patch) -> None:
    mutant(monkeypatch)
    monkeypatch.setattr(world, "SETTLE_S", 600.0)
    first = HINTS.get(mutant.__name__, 0)
    for seed in range(first, first + 40):
        outcome = run_plan(draw(seed, nodes=2 + seed % 2, hours=0.3, tasks=True))
        if MUTANTS[mutant] in {each.invariant for each in outcome.violations}:
            return
    pytest.fail(f"{mutant.__name__} was not found by 40 seeds")


@pytest.mark.parametrize("mutant", PLANS, ids=lambda mutant: mutant.__name__)
def test_a_rule_that_is_broken_seldom_is_found_by_a_plan(mutant: Any, monkeypatch: Patch) -> None:
    plan = PLANS[mutant]
    assert run_plan(plan).violations == ()
    mutant(monkeypatch)
    monkeypatch.setattr(world, "SETTLE_S", 600.0)
    assert {each.invariant for each in run_plan(plan).violations} & {"I10", "I12"}


SLOW = Plan(
    seed=1,
    nodes=1,
    hours=0.15,
    broker="embedded",
    sites=1,
    heartbeat_s=10.0,
    faults=(
        Fault(at_s=30.0, kind="task", a=0.019, b=0.5),
        Fault(at_s=60.0, kind="slow_line", node=0, for_s=400.0, a=0.1, b=0.7),
    ),
)
"""A line on which every answer comes too late for a lease of 4 s, of which 3 are for the stop."""


def test_a_lease_that_its_line_cannot_carry_is_tried_less_and_less(monkeypatch: Patch) -> None:
    assert spec_of(SLOW.faults[0])["disconnect"]["lost_after_s"] == 4.0
    outcome = run_plan(SLOW)
    assert outcome.violations == (), "and it runs when the line is well again"
    assert 5 < outcome.counts.task_runs_leased < 15
    monkeypatch.setattr(Rules, "pause_ms", lambda _self, _failures: 0)
    assert run_plan(SLOW).counts.task_runs_leased > 100, "it begins and ends all the time"


LOST = Plan(
    seed=40051,
    nodes=3,
    hours=0.0121,
    broker="embedded",
    sites=1,
    heartbeat_s=30.0,
    quota_bytes=4000,
    memory_first=True,
    faults=(
        Fault(at_s=9.611, kind="task", for_s=24.073, a=0.18, b=0.484),
        Fault(at_s=16.212, kind="center_restored", for_s=142.477, a=0.492, b=0.739),
        Fault(at_s=33.735, kind="task", a=0.216, b=0.325),
    ),
)
"""A backup that lacks a task with a lease; another one of its name without one is put after the restore."""


def test_a_lease_that_no_restored_center_can_know_of_is_excused_and_counted(
    monkeypatch: Patch,
) -> None:
    outcome = run_plan(LOST)
    assert (outcome.violations, outcome.counts.task_overlaps_excused) == ((), 1)
    # Not because of the restore alone: one that it could know of is none.
    monkeypatch.setattr(LostLeases, "_leases", lambda _self: {})
    assert {each.invariant for each in run_plan(LOST).violations} == {"I10"}


# Plans


def test_the_rest_of_a_world_does_not_depend_on_its_tasks() -> None:
    for seed in range(20):
        without, with_ = (draw(seed, nodes=3, hours=0.5, tasks=tasks) for tasks in (False, True))
        assert tuple(each for each in with_.faults if not KINDS[each.kind].tasks) == without.faults
        assert (without.sites, without.heartbeat_s) == (0, 30.0)
        assert (with_.broker, with_.quota_bytes) == (without.broker, without.quota_bytes)


def test_a_part_of_the_seeds_has_tasks() -> None:
    share = sum(draw(seed, nodes=3, hours=0.3).sites > 0 for seed in range(400)) / 400
    assert 0.04 < share < 0.13


def test_every_kind_of_task_is_drawn() -> None:
    faults = [
        fault
        for seed in range(40)
        for fault in draw(seed, nodes=3, hours=1, tasks=True).faults
        if KINDS[fault.kind].tasks
    ]
    assert {fault.kind for fault in faults} == set(_FAULTS)
    specs = [spec_of(fault) for fault in faults if fault.kind == "task"]
    contracts = [spec["disconnect"] for spec in specs]
    assert {spec["kind"] for spec in specs} == {"service", "batch"}
    assert {each["on_disconnect"] for each in contracts} == {"keep", "stop"}
    assert {each["silent_site"] for each in contracts} == {"wait", "replace"}
    assert len({name_of(fault) for fault in faults}) > 2


# Programs that outlive their agents


class Bench:
    """A machine on virtual time, and an agent that begins one run on it and dies."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock = WorldClock(self.loop.time)
        self.ended: list[WorldRun] = []
        self.workshop = WorldWorkshop(
            "node-1",
            self.clock,
            rng=random.Random(1),  # replayable, no secret
            began=lambda _run: None,
            ended=self.ended.append,
        )

    async def begin(self, *, lease_s: float | None, stop_s: float = 0.0) -> WorldRun:
        now_s = self.clock.monotonic_s()
        name, nowhere = "web.0.7", Path("/nowhere")
        if lease_s is not None:
            ends = Lease(stop_s=now_s + lease_s - 2, kill_s=now_s + lease_s, end_s=now_s + lease_s)
            self.workshop.leases.keep(name, ends)
        work = Work(
            id=name,
            run=SimulatedSettings(stop_s=stop_s),
            folder=nowhere,
            state=nowhere,
            output=nowhere,
            env={},
            requests=Requests(),
            limits=Limits(),
            lease=None if lease_s is None else nowhere,
        )
        agent = Owner("agent")
        starting = agent.spawn(WorldDriver(self.workshop).start(work), "start")
        await asyncio.wait([starting])
        agent.kill()
        run = self.workshop.find(name)
        assert run is not None
        return run


def played(work: Coroutine[Any, Any, None]) -> None:
    loop = VirtualLoop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.close()
    assert loop.complaints == []


@pytest.mark.parametrize("rate", [0.99, 1.0, 1.01])
def test_a_run_whose_agent_is_dead_ends_with_its_lease_by_its_own_clock(rate: float) -> None:
    async def work() -> None:
        bench = Bench()
        bench.clock.drift(rate)
        run = await bench.begin(lease_s=30.0, stop_s=60.0)
        await asyncio.sleep(60)
        assert run.ended_s == pytest.approx(30.0 / rate, abs=0.1)
        assert run.end is not None
        assert run.end.signal == "SIGKILL"

    played(work())


def test_a_clock_that_changes_its_pace_changes_the_end() -> None:
    async def work() -> None:
        bench = Bench()
        run = await bench.begin(lease_s=30.0)
        bench.clock.drift(0.5)
        await asyncio.sleep(100)
        assert run.ended_s == pytest.approx(2 * 28.3, abs=0.2), "asked to end behind the agent"

    played(work())


def test_without_a_lease_it_runs_until_its_machine_loses_power() -> None:
    async def work() -> None:
        bench = Bench()
        run = await bench.begin(lease_s=None)
        await asyncio.sleep(3600)
        assert run.end is None
        bench.clock.boot()
        bench.workshop.power_off()
        assert bench.clock.monotonic_s() == BOOT_S
        assert (bench.ended, bench.workshop.find(run.id)) == ([run], None)

    played(work())


def test_a_lease_whose_file_is_gone_is_over() -> None:
    async def work() -> None:
        bench = Bench()
        run = await bench.begin(lease_s=30.0)
        bench.workshop.lose_files()
        await asyncio.sleep(1.0)
        assert run.end is not None

    played(work())


# Agents that are frozen


def test_the_frozen_go_on_where_they_were_when_they_are_thawed() -> None:
    seen: list[tuple[str, float]] = []

    async def life() -> None:
        loop = asyncio.get_running_loop()
        for number in range(3):
            await asyncio.sleep(10)
            seen.append((str(number), loop.time()))

    async def work() -> None:
        owner = Owner("agent")
        owner.spawn(life(), "life")
        await asyncio.sleep(15)
        owner.freeze()
        assert owner.frozen
        await asyncio.sleep(100)
        owner.thaw()
        await asyncio.sleep(30)

    played(work())
    assert [number for number, _ in seen] == ["0", "1", "2"]
    assert [round(at_s) for _, at_s in seen] == [10, 115, 125]


def test_who_is_killed_while_frozen_is_dead() -> None:
    seen: list[str] = []

    async def life() -> None:
        await asyncio.sleep(10)
        seen.append("lives")

    async def work() -> None:
        owner = Owner("agent")
        owner.spawn(life(), "life")
        owner.freeze()
        await asyncio.sleep(20)
        owner.kill()
        owner.thaw()
        await asyncio.sleep(20)
        owner.bury()

    played(work())
    assert seen == []
