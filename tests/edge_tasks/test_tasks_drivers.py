"""A driver that hangs, fails or breaks at any of its verbs keeps neither the node nor the task for ever."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import FailingDatabase, eventually
from edge_tasks.task_bench import FakeDriver, FakeRun, World, grant, leased
from farshore_edge.tasks import checking, keepers
from farshore_edge.tasks.drivers.model import Capacity, Work
from farshore_edge.tasks.lease_files import MemoryLeases
from farshore_edge.tasks.parts import Deadlines, TaskParts
from farshore_protocol.tasks.spec import HealthCheck

SHORT = Deadlines(
    available_s=0.2,
    prepare_s=0.2,
    start_s=0.2,
    adopt_s=0.2,
    stop_s=0.2,
    sweep_s=0.2,
    remove_s=0.2,
    facts_s=0.2,
    ask_s=0.05,
    again_s=0.05,
    again_max_s=0.1,
)
QUICK = {"delay_s": 0.01, "delay_max_s": 0.02}


def parts(driver: FakeDriver) -> TaskParts:
    return TaskParts(drivers=(driver,), deadlines=SHORT, leases=MemoryLeases())


@pytest.mark.parametrize(
    ("verb", "how", "code", "text"),
    [
        ("prepare", "hang", "hangs", "prepare: the driver has not answered within 0.2 s"),
        ("prepare", "break", "broken", "prepare: RuntimeError: broken on purpose"),
        ("prepare", "fail", "on_purpose", "it fails on purpose"),
        ("start", "hang", "hangs", "start: the driver has not answered within 0.2 s"),
        ("start", "break", "broken", "start: RuntimeError"),
        ("start", "fail", "on_purpose", "it fails on purpose"),
    ],
)
async def test_what_does_not_begin_is_begun_again(
    verb: str, how: str, code: str, text: str
) -> None:
    driver = FakeDriver(**{verb: (how, 2)})
    world = World(parts(driver))
    await world.up()
    world.give(1, grant(restart=QUICK))
    word = await world.comes("backing_off", times=2)
    assert word["code"] == code
    assert text in word["reason"]
    await world.comes("running")
    assert driver.alive == 1
    await world.stop()


async def test_what_can_never_work_fails() -> None:
    world = World(parts(FakeDriver(start=("permanent", 9))))
    await world.up()
    world.give(1, grant())
    word = await world.comes("failed")
    assert (word["code"], word["reason"]) == ("on_purpose", "it never works")
    await world.stop()


@pytest.mark.parametrize("how", ["hang", "break", "fail"])
async def test_what_cant_be_ended_is_never_said_to_have_ended(how: str) -> None:
    driver = FakeDriver(stop=(how, 2))
    world = World(parts(driver))
    await world.up()
    world.give(1, grant(stop_grace_s=0))
    await world.comes("running")
    world.give(2, grant(stop_grace_s=0, want="stop"))
    await world.comes("stopped")
    assert driver.calls.count("stop") == 3
    assert driver.alive == 0
    await world.stop()


async def test_whether_it_runs_is_asked_until_it_is_known() -> None:
    driver = FakeDriver(adopt=("hang", 2), start=("hang", 1))
    world = World(parts(driver))
    await world.up()
    world.give(1, grant(restart=QUICK))
    await world.comes("running")
    assert driver.calls[:5] == ["available", "sweep", "prepare", "start", "adopt"]
    assert (driver.calls.count("adopt"), driver.alive) == (3, 1)
    await world.stop()
    await world.up()
    await eventually(lambda: driver.calls.count("adopt") == 4)
    assert driver.alive == 1, "it is taken up, and not begun a second time"
    await world.stop()


async def test_a_driver_that_does_not_say_whether_it_can_be_used_is_not_used() -> None:
    world = World(parts(FakeDriver(available=("hang", 1))))
    await world.up()
    assert world.words("birth")[-1]["capabilities"]["drivers"] == []
    world.give(1, grant())
    assert "has not answered within 0.2 s" in (await world.comes("rejected"))["reason"]
    await world.stop()


async def test_what_is_not_durable_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    from farshore_edge.tasks import service

    monkeypatch.setattr(service, "RETRY_S", 0.05)
    driver, database = FakeDriver(), FailingDatabase()
    database.fails_on = lambda change: any(each.rev for each in change.tasks)
    world = World(parts(driver), database)
    await world.up()
    world.give(1, grant())
    await eventually(lambda: database.refused >= 3)
    assert "start" not in driver.calls
    database.fails_on = lambda _change: False
    await world.comes("running")
    await world.stop()


async def test_waiting_for_its_turn_or_its_image_it_can_be_stopped() -> None:
    driver = FakeDriver(prepare=("hang", 1))
    world = World(replace(parts(driver), deadlines=replace(SHORT, prepare_s=600)))
    await world.up()
    world.give(1, grant())
    await eventually(lambda: "prepare" in driver.calls)
    world.give(2, grant(want="stop", reason="drained"))
    assert (await world.comes("stopped"))["code"] == "drained"
    assert "start" not in driver.calls
    await world.stop()


def held_of(world: World, task: str) -> dict[str, Any]:
    """As the node's newest report has it, which is what the center shows."""
    reports = world.words("rep/tasks")
    found = {each["task"]: each for each in reports[-1]["held"]} if reports else {}
    return dict(found.get(task, {}))


async def test_while_one_hangs_the_center_is_told_and_the_others_are_served() -> None:
    driver = FakeDriver(prepare=("hang", 1))
    world = World(replace(parts(driver), deadlines=replace(SHORT, prepare_s=600, slow_s=0.1)))
    await world.up()
    world.give(1, grant("slow"))
    await eventually(lambda: "prepare" in driver.calls)
    world.give(2, grant("slow"), grant())
    await world.comes("running")
    await eventually(lambda: "reason" in held_of(world, "slow"))
    held = held_of(world, "slow")
    assert held["state"] == "preparing"
    assert held["reason"] == "prepare: no answer for 0.1 s; it is given up after 600 s"
    await world.stop()


async def test_what_cant_be_ended_is_told_and_the_others_are_served() -> None:
    driver = FakeDriver(stop=("hang", 1_000_000))
    world = World(parts(driver))
    await world.up()
    world.give(1, grant("deaf", stop_grace_s=0))
    await world.comes("running", "deaf")
    world.give(2, grant("deaf", stop_grace_s=0, want="stop"), grant())
    await world.comes("running")
    await eventually(lambda: "reason" in held_of(world, "deaf"))
    held = held_of(world, "deaf")
    assert held["state"] == "stopping"
    assert "could not be ended: stop: the driver has not answered within 0.2 s" in held["reason"]
    before = driver.calls.count("stop")
    await eventually(lambda: driver.calls.count("stop") > before + 1)
    driver.troubles["stop"] = ("hang", 0)
    assert (await world.comes("stopped", "deaf"))["reason"] == "it was asked to stop"
    await world.stop()


class Mute:
    """Of a service that takes every question and answers none, and of a probe that waits for ever."""

    async def problem(self, check: HealthCheck, folder: Path, env: Mapping[str, str]) -> str | None:
        await asyncio.Event().wait()
        return None


async def test_a_health_check_that_hangs_is_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "EAGER_S", 0.05)
    driver = FakeDriver()
    world = World(replace(parts(driver), probe=Mute()))
    await world.up()
    check = {"command": ["x"], "timeout_s": 0.1, "interval_s": 0.05, "failures": 2, "start_s": 0.1}
    world.give(1, grant("mute", health=check, restart=QUICK), grant())
    word = await world.comes("backing_off", "mute")
    assert word["code"] == "unhealthy"
    assert "2 times in a row: health check: the driver has not answered within" in word["reason"]
    await world.comes("running")
    await world.comes("backing_off", "mute", times=2)
    assert driver.calls.count("stop") == 2, "what is not well is ended before it is begun again"
    await world.stop()


async def test_a_cluster_whose_driver_hangs_costs_the_facts_nothing() -> None:
    class Cluster(FakeDriver):
        async def capacity(self) -> Capacity | None:
            await asyncio.Event().wait()
            return None

    world = World(parts(Cluster()))
    agent = await world.up()
    assert await agent._supervisor.cluster() is None
    await world.stop()


async def test_a_gpu_is_not_given_twice() -> None:
    """By a center that does not know any more what it has given."""
    driver = FakeDriver()
    world = World(parts(driver))
    await world.up()
    needs: dict[str, Any] = {"requests": {"gpu": {"count": 1}}, "restart": QUICK}
    first, second = ({**grant(name, **needs), "gpus": [0]} for name in ("first", "second"))
    world.give(1, first)
    await world.comes("running", "first")
    world.give(2, first, second)
    word = await world.comes("backing_off", "second", times=2)
    assert word["code"] == "no_gpus"
    assert word["reason"] == "gpus: of GPU 0 1000 thousandths are in use; asked for are 1000"
    assert driver.alive == 1
    world.give(3, second)
    await world.comes("running", "second")
    assert not world.events("second", state="stopped")
    await world.stop()


async def test_what_is_asked_to_end_while_it_is_looked_for_ends() -> None:
    driver = FakeDriver()
    world = World(parts(driver))
    await world.up()
    world.give(1, grant())
    await world.comes("running")
    await world.stop()
    driver.troubles["adopt"], driver.alive = ("hang", 2), 0
    await world.up()
    await eventually(lambda: driver.calls.count("adopt") == 1)
    world.give(2, grant(want="stop"))
    await world.comes("stopped")
    assert driver.calls.count("start") == 1
    await world.stop()


async def test_a_driver_that_comes_later_finds_what_it_had_begun() -> None:
    """An engine that is slow to start is no end of what runs by it: nothing is said to have ended, and
    nothing is begun a second time."""
    driver = FakeDriver()
    world = World(parts(driver))
    await world.up()
    world.give(1, grant())
    await world.comes("running")
    await world.stop()
    driver.troubles["available"] = ("fail", 3)
    driver.calls.clear()
    await world.up()
    assert world.words("birth")[-1]["capabilities"]["drivers"] == []
    await eventually(lambda: "reason" in held_of(world, "web"))
    assert held_of(world, "web")["state"] == "running"
    assert held_of(world, "web")["reason"] == "its driver can't be used now: it fails on purpose"
    await eventually(lambda: world.words("birth")[-1]["capabilities"]["drivers"] == ["process"])
    await eventually(lambda: "adopt" in driver.calls)
    assert driver.calls == ["available"] * 4 + ["sweep", "adopt"]
    assert driver.alive == 1
    world.give(2, grant("more"))
    await world.comes("running", "more")
    assert (await world.comes("stopped"))["code"] == "removed"
    assert driver.alive == 1
    assert not world.events(state="failed")
    await world.stop()


async def test_what_waits_for_its_driver_and_runs_nowhere_can_be_stopped() -> None:
    driver = FakeDriver(prepare=("fail", 1_000))
    world = World(parts(driver))
    await world.up()
    world.give(1, grant(restart={"delay_s": 600, "delay_max_s": 600}))
    await world.comes("backing_off")
    await world.stop()
    driver.troubles["available"] = ("fail", 1_000_000)
    await world.up()
    world.give(2, grant(want="stop"))
    await world.comes("stopped")
    await world.stop()


async def test_a_driver_that_hangs_at_the_start_holds_up_nobody_who_runs() -> None:
    """Leases are renewed, and ends are seen, while it is asked what belongs to nobody."""
    driver = FakeDriver()
    world = World(replace(parts(driver), deadlines=replace(SHORT, sweep_s=600)))
    await world.up()
    world.give(1, leased(600), grant("other"))
    await world.comes("running")
    await world.comes("running", "other")
    await world.stop()
    driver.troubles["sweep"] = ("hang", 1)
    asked = len(world.words("lease"))
    await world.up()
    await eventually(lambda: driver.calls.count("adopt") == 2)
    await eventually(lambda: len(world.words("lease")) > asked)
    assert world.held()["web/0"]["state"] == "running"
    await world.stop()


async def test_a_driver_that_answers_nonsense_costs_its_own_task_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keepers, "BROKE_S", 0.05)

    class Strange(FakeDriver):
        async def start(self, work: Work) -> FakeRun:
            running = await super().start(work)
            if self.calls.count("start") == 1:
                running.trace = 5  # type: ignore[assignment] # nonsense
            return running

    driver = Strange()
    world = World(parts(driver))
    await world.up()
    world.give(1, grant())
    await world.comes("running")
    assert (driver.calls.count("start"), driver.calls.count("adopt")) == (1, 1)
    assert driver.alive == 1
    world.give(2, grant("more"))
    await world.comes("stopped")
    await world.stop()
