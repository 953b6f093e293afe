"""A real agent that starts itself anew, and a stand-in for a machine that boots, at a real center."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system.programs import AgentProgram, CenterProgram

pytestmark = pytest.mark.processes

AGENT = Path(__file__).parents[1] / "edge" / "power_agent.py"

# What a machine does that boots: the agent is killed in the midst of it, and the boot id is another.
REBOOT = """
import os, signal, sys
count, boot_id, pid = sys.argv[1:4]
open(count, "a").write("x")
open(boot_id, "w").write("boot-after\\n")
os.kill(int(open(pid).read()), signal.SIGKILL)
"""


def target(view: dict[str, Any]) -> dict[str, Any]:
    [found] = view["targets"]
    return dict(found)


async def boot_of(center: CenterProgram, name: str) -> Any:
    found = await center.get(f"/nodes/{name}")
    return found["boot"]


async def test_an_agent_restarts_itself_as_the_same_process(
    make_center: Callable[..., CenterProgram], make_agent: Callable[[str, int], AgentProgram]
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("n1", center.mqtt_port)
    await center.online("n1")
    before = await boot_of(center, "n1")
    made = await center.command("n1", "restart-agent", {"reason": "a test"}, ttl_s=60)
    end = target(await center.done(made["id"]))
    assert end["state"] == "succeeded", (end, agent.text())
    assert end["result"]["boot_before"] == before
    assert end["result"]["boot"] == await boot_of(center, "n1")
    assert 0 < end["result"]["down_s"] < 60
    assert agent.process is not None
    assert agent.process.poll() is None, "it is the same process, for whoever supervises it"
    again = await center.command("n1", "ping", ttl_s=60)
    assert target(await center.done(again["id"]))["state"] == "succeeded"
    assert agent.text().count("the agent restarts") == 1
    assert agent.end() == 0


async def test_an_agent_whose_settings_went_bad_is_left_running(
    make_center: Callable[..., CenterProgram], tmp_path: Path, programs: list[Any]
) -> None:
    center = make_center()
    await center.ready()
    settings = tmp_path / "agent.toml"
    settings.write_text("spill_after_s = 1.0\n")
    agent = AgentProgram(tmp_path, "n1", center.mqtt_port)
    agent.argv += ["--settings", str(settings)]
    programs.append(agent)
    agent.start()
    await center.online("n1")
    settings.write_text("spill_after_s = 'often'\n")
    made = await center.command("n1", "restart-agent", ttl_s=60)
    end = target(await center.done(made["id"]))
    assert (end["state"], end["error"]["code"]) == ("failed", "would_not_start")
    assert "spill_after_s = 'often'" in end["error"]["message"]
    assert agent.process is not None
    assert agent.process.poll() is None


async def test_a_reboot_is_done_once_and_told_by_the_next_boot(
    make_center: Callable[..., CenterProgram], tmp_path: Path, programs: list[Any]
) -> None:
    center = make_center()
    await center.ready()
    count, boot_id, pid = tmp_path / "count", tmp_path / "boot_id", tmp_path / "pid"
    script = tmp_path / "reboot.py"
    script.write_text(REBOOT)
    boot_id.write_text("boot-before\n")
    agent = AgentProgram(tmp_path, "n1", center.mqtt_port)
    command = f"{sys.executable} -S {script} {count} {boot_id} {pid}"
    agent.argv = [
        *(sys.executable, str(AGENT), str(boot_id)),
        *agent.argv[1:],
        *("--reboot-command", command),
    ]
    programs.append(agent)
    agent.start()
    assert agent.process is not None
    pid.write_text(str(agent.process.pid))
    await center.online("n1")
    made = await center.command("n1", "reboot", ttl_s=120)
    assert agent.wait() == -signal.SIGKILL
    assert count.read_text() == "x"
    agent.start()
    end = target(await center.done(made["id"]))
    assert end["state"] == "succeeded", end
    assert end["result"]["boot_id_before"] == "boot-before"
    assert end["result"]["boot_id"] == "boot-after"
    agent.kill()  # and again, before or after it was acknowledged
    agent.start()
    again = await center.command("n1", "ping", ttl_s=60)
    assert target(await center.done(again["id"]))["state"] == "succeeded"
    assert count.read_text() == "x", "it never reboots a second time"


async def test_a_machine_that_does_not_boot_within_its_time_is_told(
    make_center: Callable[..., CenterProgram], tmp_path: Path, programs: list[Any]
) -> None:
    center = make_center()
    await center.ready()
    agent = AgentProgram(tmp_path, "n1", center.mqtt_port)
    agent.argv += ["--reboot-command", "true"]
    programs.append(agent)
    agent.start()
    await center.online("n1")
    made = await center.command("n1", "reboot", ttl_s=60, timeout_s=1)
    end = target(await center.done(made["id"]))
    assert (end["state"], end["error"]["code"]) == ("failed", "not_rebooted")
    agent.argv[-1] = "/nowhere/reboot"
    assert agent.end() == 0
    agent.start()
    made = await center.command("n1", "reboot", ttl_s=60)
    end = target(await center.done(made["id"]))
    assert (end["state"], end["error"]["code"]) == ("failed", "reboot_failed")
    assert "reboot_command" in end["error"]["message"]
