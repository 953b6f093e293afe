"""``farshore diagnose`` of a real agent: the file holds its log, its disk and its process, and no secret."""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from system.programs import BIN, AgentProgram, CenterProgram

pytestmark = pytest.mark.processes


async def test_a_real_agent_is_diagnosed_into_a_file(
    make_center: Callable[..., CenterProgram], tmp_path: Path, programs: list[AgentProgram]
) -> None:
    center = make_center()
    await center.ready()
    agent = AgentProgram(tmp_path, "n1", center.mqtt_port)
    agent.argv += ["--label", "token=hunter2-Zx9", "--label", "site=x"]
    programs.append(agent)
    agent.start()
    assert agent.process is not None
    await center.online("n1")
    file = tmp_path / "found.json"
    argv = [str(BIN / "farshore"), "--url", center.url, "diagnose", "n1", "-o", str(file)]
    done = await asyncio.to_thread(
        subprocess.run, argv, capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{file}  10 sections, "), done.stdout
    text = file.read_text()
    assert "hunter2" not in text
    found = json.loads(text)
    sections = found["sections"]
    assert sections["agent"]["pid"] == agent.process.pid
    assert "agent.db" in sections["disk"]["files"]
    assert sections["settings"]["labels"] == {"token": "(redacted)", "site": "x"}
    assert sections["machine"]["cpu"]
    assert any("connected" in line for line in found["log"])
    assert not any("error" in each for each in sections.values() if isinstance(each, dict))
