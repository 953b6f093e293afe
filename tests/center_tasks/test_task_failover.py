"""A real center and real agents: what a killed node had runs elsewhere, and only there."""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from system.conftest import make_agent as make_agent
from system.conftest import make_center as make_center
from system.conftest import programs as programs
from system.programs import AgentProgram, CenterProgram, until

SPEC: dict[str, Any] = {
    "kind": "service",
    "driver": "process",
    "run": {"argv": [sys.executable, "-c", "import time; time.sleep(600)"]},
    "disconnect": {"lost_after_s": 1.0},
    "stop_grace_s": 1.0,
}


async def where(center: CenterProgram, name: str, *, not_on: str = "") -> str:
    async def look() -> str | None:
        found = (await center.get(f"/tasks/{name}"))["instances"][0]
        at_work = found["state"] == "running" and found["node"] != not_on
        return found["node"] if at_work else None

    node: str = await until(look, f"{name} running elsewhere than on {not_on or 'nowhere'}")
    return node


@pytest.mark.processes
async def test_a_service_whose_node_is_killed_runs_elsewhere(
    make_center: Callable[..., CenterProgram], make_agent: Callable[[str, int], AgentProgram]
) -> None:
    center = make_center()
    await center.ready()
    agents = {name: make_agent(name, center.mqtt_port) for name in ("n1", "n2")}
    await center.online(*agents)

    put = await center.http.put("/api/v1/tasks/web", json=SPEC)
    assert put.status_code == 201, put.text
    first = await where(center, "web")
    begun = time.monotonic()
    agents[first].kill()
    second = await where(center, "web", not_on=first)
    assert second != first
    assert time.monotonic() - begun < 30

    # The one that comes back is told to end what it had.
    agents[first].start()

    async def ended() -> bool:
        steps = (await center.get("/tasks/web/history"))["items"]
        return any(step["node"] == first and step["state"] == "stopped" for step in steps)

    await until(ended, f"the end of what {first} had")
    assert await where(center, "web") == second
    await center.http.delete("/api/v1/tasks/web")

    async def gone() -> bool:
        await asyncio.sleep(0)
        return (await center.http.get("/api/v1/tasks/web")).status_code == 404

    await until(gone, "the end of the task")
