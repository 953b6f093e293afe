"""A real center and two real agents: what fails at its node is begun again there, and goes to the other when
its restarts are used up; or stays, where nothing limits them.
"""

import contextlib
import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system.conftest import make_agent as make_agent
from system.conftest import make_center as make_center
from system.conftest import programs as programs
from system.programs import AgentProgram, CenterProgram, until

pytestmark = pytest.mark.processes

MakeCenter = Callable[..., CenterProgram]
MakeAgent = Callable[[str, int], AgentProgram]


class Service:
    """A task whose process writes its id beside the name of its node, and is healthy as long as nobody
    has said otherwise of its node."""

    def __init__(self, center: CenterProgram, folder: Path) -> None:
        self._center = center
        self._folder = folder

    async def put(self, **spec: Any) -> None:
        folder = shlex.quote(str(self._folder))
        run = f"echo $$ >> {folder}/$FARSHORE_NODE; exec sleep 600"
        body = {
            "kind": "service",
            "driver": "process",
            "run": {"argv": ["sh", "-c", run]},
            "stop_grace_s": 1.0,
            **spec,
        }
        answer = await self._center.http.put("/api/v1/tasks/web", json=body)
        assert answer.status_code == 201, answer.text

    def check(self) -> dict[str, Any]:
        sick = f"test ! -e {shlex.quote(str(self._folder))}/sick-$FARSHORE_NODE"
        return {
            "command": ["sh", "-c", sick],
            "interval_s": 0.3,
            "timeout_s": 20.0,
            "failures": 2,
            "start_s": 1.0,
        }

    def sicken(self, node: str) -> None:
        (self._folder / f"sick-{node}").touch()

    def pids(self, node: str) -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return [int(line) for line in (self._folder / node).read_text().split()]
        return []

    async def running(self, *, not_on: str = "") -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            [found] = (await self._center.get("/tasks/web"))["instances"]
            return found if found["state"] == "running" and found["node"] != not_on else None

        running: dict[str, Any] = await until(look, f"web running, not on {not_on or 'nowhere'}")
        return running

    async def kill(self, node: str, before: int) -> int:
        """Its process, when there is one more than so many; how many there were then."""
        pids = await until(
            lambda: found if len(found := self.pids(node)) > before else None, "a process of web"
        )
        os.kill(pids[-1], signal.SIGKILL)
        return len(pids)

    async def history(self, node: str) -> list[tuple[str, str]]:
        lines = (await self._center.get("/tasks/web/history", limit=1000))["items"]
        return [(line["state"], line["reason"] or "") for line in lines if line["node"] == node]

    async def delete(self) -> None:
        """Its processes outlive the agents."""
        await self._center.http.delete("/api/v1/tasks/web")

        async def gone() -> bool:
            return (await self._center.http.get("/api/v1/tasks/web")).status_code == 404

        await until(gone, "the end of web")


@pytest.fixture
async def service(make_center: MakeCenter, make_agent: MakeAgent, tmp_path: Path) -> Any:
    center = make_center()
    await center.ready()
    for name in ("n1", "n2"):
        make_agent(name, center.mqtt_port)
    await center.online("n1", "n2")
    folder = tmp_path / "seen"
    folder.mkdir()
    made = Service(center, folder)
    yield made
    await made.delete()


async def test_what_is_unhealthy_is_restarted_and_goes_elsewhere_when_that_does_not_help(
    service: Service,
) -> None:
    restart = {"attempts": 2, "interval_s": 600.0, "delay_s": 0.1}
    await service.put(health=service.check(), restart=restart)
    first = (await service.running())["node"]
    service.sicken(first)
    found = await service.running(not_on=first)
    assert found["healthy"] is True
    assert len(service.pids(first)) == 3, "the first run, and two restarts"
    said = await service.history(first)
    assert [state for state, _ in said].count("failed") == 1
    assert any("unhealthy" in reason for state, reason in said if state == "backing_off"), said
    assert found["attempt"] == 2


async def test_a_process_that_dies_is_begun_again_and_goes_elsewhere_when_it_dies_too_often(
    service: Service,
) -> None:
    await service.put(restart={"attempts": 2, "interval_s": 600.0, "delay_s": 0.1})
    first = (await service.running())["node"]
    seen = 0
    for _ in range(3):
        seen = await service.kill(first, seen)
    second = await service.running(not_on=first)
    assert len(service.pids(first)) == 3
    assert len(service.pids(second["node"])) == 1
    said = await service.history(first)
    assert [state for state, _ in said].count("failed") == 1
    assert any("SIGKILL" in reason for state, reason in said if state == "backing_off"), said


async def test_a_process_that_dies_stays_at_its_node_where_nothing_limits_its_restarts(
    service: Service,
) -> None:
    await service.put(restart={"delay_s": 0.05, "delay_max_s": 0.1})
    first = (await service.running())["node"]
    seen = 0
    for _ in range(6):
        seen = await service.kill(first, seen)
    await until(lambda: len(service.pids(first)) == 7, "the seventh process")

    async def told() -> bool:
        return bool((await service.running())["restarts"] == 6)

    await until(told, "six restarts")
    assert (await service.running())["node"] == first
    assert "failed" not in [state for state, _ in await service.history(first)]
