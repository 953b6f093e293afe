"""A node's own policy holds against its center, with --dev, and a broken one opens nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from system.programs import AgentProgram, CenterProgram, Program

pytestmark = pytest.mark.processes

RULES = """
[[rule]]
name = "how it is"
allow = ["ping", "status"]

[[rule]]
name = "echo"
allow = ["exec"]
argv = ["echo", "*"]
"""


async def test_what_the_node_does_not_allow_is_refused_with_its_reason(
    make_center: Callable[..., CenterProgram], tmp_path: Path, programs: list[Program]
) -> None:
    center = make_center()
    await center.ready()
    policy = tmp_path / "policy.toml"
    policy.write_text(RULES)
    agent = AgentProgram(tmp_path, "pi-1", center.mqtt_port)
    agent.argv += ["--policy", str(policy)]
    programs.append(agent)
    agent.start()
    await center.online("pi-1")

    async def target(verb: str, **args: Any) -> dict[str, Any]:
        made = await center.command("pi-1", verb, args)
        [found] = (await center.done(made["id"]))["targets"]
        assert isinstance(found, dict)
        return found

    assert (await target("exec", argv=["echo", "x"]))["state"] == "succeeded"
    refused = await target("exec", argv=["rm", "x"])
    assert (refused["state"], refused["error"]["code"]) == ("rejected", "policy")
    assert f"no rule of {policy} allows exec rm x" in refused["error"]["message"]
    assert "rule 'echo' (argv echo *)" in refused["error"]["message"]
    assert (await target("facts"))["state"] == "rejected"
    status = (await target("status"))["result"]
    assert status["policy"] == {"file": str(policy), "rules": 2}

    agent.kill()
    policy.write_text(RULES + "deny = 5")
    agent.start()
    await center.online("pi-1")
    refused = await target("exec", argv=["echo", "x"])
    assert (refused["state"], refused["error"]["code"]) == ("rejected", "policy")
    assert "expected exactly one of allow and deny" in refused["error"]["message"]
    fault = (await target("status"))["result"]["policy"]["fault"]
    assert "rule 2 ('echo')" in fault
    assert "the policy can't be used" in agent.text()
