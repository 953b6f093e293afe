"""A real agent behind a slow link measures it by itself; the center reckons with it, also after a restart."""

from collections.abc import Callable
from typing import Any

import pytest
from farshore_sim.faults import TcpProxy
from farshore_sim.faults.link_faults import Direction, Throttle
from system.conftest import make_center as make_center
from system.conftest import programs as programs
from system.programs import AgentProgram, CenterProgram, Program, until

pytestmark = pytest.mark.processes

UP, DOWN = 40_000, 160_000
JOB: dict[str, Any] = {
    "kind": "batch",
    "driver": "process",
    "run": {"argv": ["/bin/true"]},
    "where": "core",
    "reads": [{"where": "node:n1", "bytes": 400_000}],
}


async def test_a_link_is_measured_by_its_node_and_stays_known(
    make_center: Callable[..., CenterProgram], programs: list[Program], tmp_path: Any
) -> None:
    center = make_center()
    await center.ready()
    proxy = TcpProxy("127.0.0.1", center.mqtt_port, buffer_bytes=4096)
    proxy.put(Throttle(bytes_per_s=UP), Direction.UP)
    proxy.put(Throttle(bytes_per_s=DOWN), Direction.DOWN)
    await proxy.start()
    core = AgentProgram(tmp_path, "core-1", center.mqtt_port)
    core.argv += ["--group", "core"]
    edge = AgentProgram(tmp_path, "n1", proxy.port)
    edge.argv += ["--link-every-s", "2", "--sample-interval-s", "5", "--batch-s", "5"]
    programs += [core, edge]
    try:
        for program in (core, edge):
            program.start()
        await center.online("n1", "core-1")
        assert (await center.http.put("/api/v1/tasks/job", json=JOB)).status_code == 201

        async def link() -> dict[str, Any] | None:
            number = (await center.get("/events", kind="evt.link"))["items"]
            return number[-1]["data"] if number else None

        told = await until(link, "a measurement")
        # Never quicker than the link; on a machine with much else to do, programs are slower than it.
        assert UP / 2 < told["up_bytes_s"] < UP * 1.2
        assert UP < told["down_bytes_s"] < DOWN * 1.2
        edge.end()
    finally:
        await proxy.stop()
    center.end()
    center.start()
    await center.ready()
    await center.online("core-1")
    assert (await center.http.put("/api/v1/tasks/later", json=JOB)).status_code == 201

    async def explained() -> dict[str, Any] | None:
        (why,) = (await center.get("/tasks/later/explain"))["instances"]
        found: dict[str, Any] | None = why if why["node"] else None
        return found

    why = await until(explained, "a decision after the restart")
    (known,) = why["links"]
    assert known["node"] == "n1"
    assert known["measured_at"] is not None
    (transfer,) = [each for each in why["estimate"] if each["name"] == "transfer"]
    assert transfer["origin"] == "measured"
    moved_s = 400_000 / known["up_bytes_s"] + known["round_trip_s"]
    assert transfer["value"] == pytest.approx(moved_s)
    assert UP / 2 < known["up_bytes_s"] < UP * 1.2
