"""``POST /commands/{id}/cancel`` reaches what runs at a node, also when the center dies after its word."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system.programs import AgentProgram, CenterProgram, until

pytestmark = pytest.mark.processes

SCRIPT = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open({path!r}, 'w').write(str(os.getpid()))
time.sleep(600)
"""


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_what_runs_is_ended_also_when_it_ignores_sigterm_and_the_center_dies(
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
    tmp_path: Path,
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    path = tmp_path / "pid"
    argv = [sys.executable, "-S", "-c", SCRIPT.format(path=str(path))]
    made = await center.command("pi-1", "exec", {"argv": argv}, ttl_s=60, timeout_s=500)
    await until(lambda: path.exists() and path.read_text(), "the program")
    pid = int(path.read_text())

    assert agent.process is not None
    os.kill(agent.process.pid, signal.SIGSTOP)  # so that the center dies before the node's answer
    response = await center.http.post(f"/api/v1/commands/{made['id']}/cancel")
    answer = response.json()
    center.kill()
    center.start()
    await center.ready()
    os.kill(agent.process.pid, signal.SIGCONT)

    view: dict[str, Any] = await center.done(made["id"])
    assert view["summary"] == {"cancelled": 1}
    asking = await center.done(answer["asked_by"])
    [target] = asking["targets"]
    assert target["result"] == {"id": made["id"], "state": "cancelled", "cancelled": True}
    await until(lambda: not _lives(pid), "the end of the program")
    assert agent.end() == 0
