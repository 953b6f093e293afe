"""Named devices: what a node tells of them, who may have one, and where a task finds it."""

from pathlib import Path
from typing import Any

import pytest
from edge.edge_bench import eventually
from edge_tasks.task_bench import World, grant, kill_tasks
from farshore_edge.devices import device_problem
from farshore_edge.host import HostMachine
from farshore_edge.tasks.host import host_tasks

CAMERA: dict[str, Any] = {"requests": {"devices": ["camera0"]}}
QUICK = {"delay_s": 0.01, "delay_max_s": 0.02}


@pytest.mark.parametrize(
    ("held", "absent", "says"),
    [
        ((), (), None),
        (("arm",), (), None),
        (("camera0",), (), "device camera0: another task here has it"),
        ((), ("camera0",), "device camera0: /dev/video0 is not there"),
    ],
)
def test_who_may_have_a_device(
    held: tuple[str, ...], absent: tuple[str, ...], says: str | None
) -> None:
    paths = {"camera0": "/dev/video0", "arm": "/dev/ttyACM0"}
    assert device_problem(["camera0"], held, paths, absent) == says


def test_a_device_that_the_node_has_not_is_told_with_those_that_it_has() -> None:
    problem = device_problem(["gps"], (), {"camera0": "/dev/video0"}, ())
    assert problem == "device gps: this node has no such device, it has camera0"


def test_a_node_tells_of_its_devices() -> None:
    assert HostMachine({"b": "/dev/b", "a": "/dev/a"}).facts()["devices"] == [
        {"name": "a", "path": "/dev/a"},
        {"name": "b", "path": "/dev/b"},
    ]
    assert "devices" not in HostMachine().facts()


async def test_a_task_finds_its_device_and_has_it_alone(tmp_path: Path) -> None:
    camera = tmp_path / "video0"
    world = World(host_tasks(tmp_path, devices={"camera0": str(camera)}))
    try:
        await world.up()
        show = ["sh", "-c", 'echo "$FARSHORE_DEVICE_CAMERA0"; sleep 600']
        world.give(1, grant(argv=show, restart=QUICK, **CAMERA))
        word = await world.comes("backing_off")
        assert (word["code"], word["reason"]) == (
            "no_device",
            f"device camera0: {camera} is not there",
        )
        camera.touch()  # it is plugged in
        await world.comes("running")
        output = tmp_path / "tasks/web.0.10/output.log"
        await eventually(lambda: output.read_text() == f"{camera}\n")
        other = grant("other", restart={"policy": "never"}, **CAMERA)
        world.give(2, grant(argv=show, restart=QUICK, **CAMERA), other)
        word = await world.comes("failed", "other")
        assert word["code"] == "no_device"
        assert "another task here has it" in word["reason"]
    finally:
        await world.stop()
        kill_tasks(tmp_path)
