"""What goes wrong with real drivers, as the center is told of it: memory, images, ends that stay in the
document."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from edge.edge_bench import eventually
from edge_tasks.task_bench import World, grant, kill_tasks
from farshore_edge.tasks.drivers.limits.choice import host_cages
from farshore_edge.tasks.drivers.process import ProcessDriver
from farshore_edge.tasks.host import host_tasks
from farshore_edge.tasks.parts import Deadlines, TaskParts
from left_out import leave_out
from task_drivers.podman import Podman

pytestmark = pytest.mark.processes

DEADLINE_S = 180.0
MIB = 1 << 20


def usable(world: World) -> bool:
    """An engine that is slow to answer is said by a later birth."""
    births = world.words("birth")
    return bool(births) and "container" in births[-1]["capabilities"]["drivers"]


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[list[World]]:
    """Worlds that are ended with the test."""
    worlds: list[World] = []
    yield worlds
    for world in worlds:
        if world.agent is not None:
            world.give(99)
            await eventually(lambda world=world: not world.held(), DEADLINE_S)  # type: ignore[misc] # bound
            await world.stop()
    kill_tasks(tmp_path)


async def with_processes(made: list[World], folder: Path) -> World:
    world = World(host_tasks(folder))
    made.append(world)
    await world.up()
    return world


async def with_containers(made: list[World], folder: Path, engine: Podman) -> World:
    from farshore_edge.tasks.drivers.container.driver import ContainerDriver

    drivers = (ContainerDriver(folder, [engine.socket]), ProcessDriver(folder / "tasks"))
    patient = Deadlines(available_s=120, start_s=240)
    world = World(TaskParts(drivers=drivers, folder=folder / "tasks", deadlines=patient))
    made.append(world)
    world.start()
    try:
        await eventually(lambda: usable(world), DEADLINE_S)
    except AssertionError as exc:
        raise AssertionError(f"{exc}; the engine says {await drivers[0].available()}") from exc
    return world


async def told(world: World, state: str, task: str = "web") -> dict[str, Any]:
    await eventually(lambda: world.events(task, state=state), DEADLINE_S)
    return world.events(task, state=state)[0]


HUNGRY: dict[str, Any] = {
    "limits": {"memory_bytes": 48 * MIB},
    "restart": {"policy": "never"},
    "kind": "batch",
}


async def test_a_process_that_takes_more_memory_than_it_may(
    made: list[World], tmp_path: Path
) -> None:
    if "memory" not in host_cages(tmp_path).controllers:
        leave_out("no control group with the controller memory can be made here")
    world = await with_processes(made, tmp_path)
    world.give(1, grant(argv=["tail", "/dev/zero"], **HUNGRY))
    word = await told(world, "failed")
    assert (word["code"], word["signal"]) == ("out_of_memory", "SIGKILL")
    assert word["reason"] == "the kernel ended it: it used more memory than its limit"


async def test_a_container_that_takes_more_memory_than_it_may(
    made: list[World], tmp_path: Path, engine: Podman
) -> None:
    world = await with_containers(made, tmp_path, engine)
    run = {"image": engine.image, "command": ["tail", "/dev/zero"], "network": "none"}
    world.give(1, grant(driver="container", run=run, **HUNGRY))
    word = await told(world, "failed")
    assert (word["code"], word["signal"]) == ("out_of_memory", "SIGKILL")


async def test_an_image_that_is_not_there_keeps_nobody_else_waiting(
    made: list[World], tmp_path: Path, engine: Podman
) -> None:
    world = await with_containers(made, tmp_path, engine)
    nowhere = {"image": "127.0.0.1:1/nobody/has:this", "network": "none"}
    never = {"image": "localhost/nobody/has:this", "pull": "never"}
    world.give(
        1,
        grant("nowhere", driver="container", run=nowhere),
        grant("never", driver="container", run=never),
        grant(),
    )
    await told(world, "running")
    word = await told(world, "failed", "never")
    assert (word["code"], "pull is never" in word["reason"]) == ("no_image", True)
    word = await told(world, "backing_off", "nowhere")
    assert (word["code"], word["reason"].startswith(nowhere["image"])) == ("no_image", True)


# An end that stays in the document


async def logs_of(world: World, unit: str) -> str:
    id = f"c{len(world.seen)}"
    body = {"id": id, "verb": "logs", "args": {"unit": unit}, "timeout_s": 30}
    world.say("cmd/logs", orjson.dumps(body))
    await eventually(lambda: any(f"res/{id}" in topic for topic, _ in world.seen), DEADLINE_S)
    return " ".join(str(word) for topic, word in world.seen if id in topic)


@pytest.mark.parametrize("want", ["run", "stop"])
async def test_what_has_ended_keeps_its_logs_and_is_never_run_again(
    made: list[World], tmp_path: Path, want: str
) -> None:
    world = await with_processes(made, tmp_path)
    count, home = tmp_path / "count", tmp_path / "tasks/once.0.10"
    script = f"echo here it was; echo x >> {count}"
    once = grant("once", kind="batch", argv=["sh", "-c", script])
    world.give(1, once)
    await told(world, "succeeded", "once")
    stays = {**once, "want": want, "reason": "asked" if want == "stop" else None}
    for rev in (2, 3):
        world.give(rev, stays, grant(f"beside{rev}"))
        await told(world, "running", f"beside{rev}")
    assert "here it was" in await logs_of(world, "once/0")
    await world.stop()
    await world.up()
    world.give(4, stays, grant("beside4"))
    await told(world, "running", "beside4")
    assert "here it was" in await logs_of(world, "once/0")
    assert count.read_text() == "x\n"
    # What was not acknowledged is sent again, as it was.
    assert len({orjson.dumps(each) for each in world.events("once", state="succeeded")}) == 1
    assert not world.events("once", state="stopped")
    world.give(5, grant("beside4"))
    await eventually(lambda: not home.exists(), DEADLINE_S)
    assert "no_task" in await logs_of(world, "once/0")


async def test_an_end_that_a_node_knows_nothing_of_is_not_run(
    made: list[World], tmp_path: Path
) -> None:
    """It has lost its books; the center still names what has ended."""
    world = await with_processes(made, tmp_path)
    note = tmp_path / "note"
    world.give(1, grant("once", want="stop", reason="asked", argv=["touch", str(note)]), grant())
    word = await told(world, "stopped", "once")
    assert word["code"] == "asked"
    await told(world, "running")
    assert not note.exists()
    assert not world.events("once", state="preparing")
