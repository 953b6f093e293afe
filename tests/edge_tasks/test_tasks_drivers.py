"""A driver that hangs, fails or breaks at any of its verbs keeps neither the node nor the task for ever."""

from dataclasses import replace

import pytest
from edge.edge_bench import FailingDatabase, eventually
from edge_tasks.task_bench import FakeDriver, World, grant
from farshore_edge.tasks import keeper
from farshore_edge.tasks.lease_files import MemoryLeases
from farshore_edge.tasks.parts import Deadlines, TaskParts

SHORT = Deadlines(
    available_s=0.2, prepare_s=0.2, start_s=0.2, adopt_s=0.2, stop_s=0.2, sweep_s=0.2, remove_s=0.2
)
QUICK = {"delay_s": 0.01, "delay_max_s": 0.02}


def parts(driver: FakeDriver) -> TaskParts:
    return TaskParts(drivers=(driver,), deadlines=SHORT, leases=MemoryLeases())


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "AGAIN_S", (0.05, 0.1))


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
