"""A verb of another distribution: found at the node, announced, and commanded by the center."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from system.programs import AgentProgram, CenterProgram, Program

pytestmark = pytest.mark.processes


async def test_an_added_verb_is_announced_and_can_be_commanded(
    make_center: Callable[..., CenterProgram], tmp_path: Path, programs: list[Program]
) -> None:
    """A distribution as pip would install it; a broken one beside it costs nothing but itself."""
    site = tmp_path / "site"
    install(site, "blinker", "blink", BLINK)
    install(site, "broken", "sleepy", "raise RuntimeError('no such lamp')")
    install(site, "rogue", "ping", BLINK)
    install(site, "twin", "blink2", BLINK)
    center = make_center()
    await center.ready()
    agent = AgentProgram(tmp_path, "pi-1", center.mqtt_port)
    agent.argv = [sys.executable, "-c", _with_site(site), *agent.argv[1:]]
    programs.append(agent)
    agent.start()
    await center.online("pi-1")
    node = await center.get("/nodes/pi-1")
    assert "blink" in node["capabilities"]["verbs"]
    assert not {"sleepy", "blink2"} & set(node["capabilities"]["verbs"])
    view = await center.done((await center.command("pi-1", "blink", {"times": 3}))["id"])
    [target] = view["targets"]
    assert (target["state"], target["result"]) == ("succeeded", {"blinked": 3, "node": "pi-1"})
    view = await center.done((await center.command("pi-1", "blink", {"times": "x"}))["id"])
    [target] = view["targets"]
    assert (target["state"], target["error"]["code"]) == ("rejected", "bad_args")
    response = await center.http.post(
        "/api/v1/commands", json={"node": "pi-1", "verb": "sleepy", "args": {}}
    )
    assert response.status_code == 422
    view = await center.done((await center.command("pi-1", "verbs"))["id"])
    result = view["targets"][0]["result"]
    assert result["verbs"]["blink"]["summary"] == "Blinks."
    assert "no such lamp" in result["refused"]["sleepy"]
    assert "the agent has a verb of that name itself" in result["refused"]["ping"]
    assert "calls itself 'blink'" in result["refused"]["blink2"]
    view = await center.done((await center.command("pi-1", "ping"))["id"])
    assert "pong" in view["targets"][0]["result"]


def _with_site(site: Path) -> str:
    return (
        f"import sys; sys.path.append({os.fspath(site)!r}); sys.argv[0] = 'farshore-agent'; "
        "from farshore_edge.cli import main; sys.exit(main())"
    )


BLINK = """
from dataclasses import dataclass

from farshore_edge.commands.verbs import Outcome
from farshore_edge.commands.verbs.added import AddedVerb
from farshore_protocol.commands import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class BlinkArgs:
    times: int = 1


BLINK = Verb(
    name="blink", summary="Blinks.", risk="change", idempotent=True, timeout_s=5, args=BlinkArgs
)


def make(tools):
    async def handle(args, context):
        return Outcome(result={"blinked": args.times, "node": tools.node})

    return AddedVerb(verb=BLINK, handler=handle)
"""


def install(site: Path, package: str, name: str, code: str) -> None:
    module, info = site / f"{package}_verbs.py", site / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    module.write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[farshore.verbs]\n{name} = {package}_verbs:make\n")
