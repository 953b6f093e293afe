"""A program that says a gigabyte: its output is cut, and its node goes on answering."""

import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from system.programs import AgentProgram, CenterProgram, until

pytestmark = pytest.mark.processes

GIGABYTE = 1 << 30
KEPT = 256 * 1024
TALKS = (
    "import sys\n"
    "chunk = 'y' * 65535 + chr(10)\n"
    f"for _ in range({GIGABYTE >> 16}): sys.stdout.write(chunk)"
)


async def test_a_gigabyte_is_cut_and_the_node_goes_on_answering(
    make_center: Callable[..., CenterProgram], make_agent: Callable[[str, int], AgentProgram]
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    assert agent.process is not None
    own = psutil.Process(agent.process.pid)
    await center.done((await center.command("pi-1", "ping"))["id"])
    before = own.memory_info().rss
    argv = [sys.executable, "-I", "-S", "-c", TALKS]
    made = await center.command("pi-1", "exec", {"argv": argv}, ttl_s=60, timeout_s=300)

    async def view() -> dict[str, Any]:
        found: dict[str, Any] = await center.get(f"/commands/{made['id']}")
        return found

    async def speaks() -> bool:
        return bool((await view())["targets"][0]["output"])

    await until(speaks, "the first of its output")
    peak, slowest_s, pings = before, 0.0, 0
    while not (await view())["done"]:
        began_s = time.monotonic()
        await center.done((await center.command("pi-1", "ping"))["id"])
        slowest_s = max(slowest_s, time.monotonic() - began_s)
        peak = max(peak, own.memory_info().rss)
        pings += 1
    [target] = (await center.done(made["id"]))["targets"]
    assert (target["state"], target["result"]["exit_code"]) == ("succeeded", 0)
    assert len("".join(chunk["text"] for chunk in target["output"])) == KEPT
    assert target["result"]["output_cut_bytes"] == GIGABYTE - KEPT
    assert pings >= 2
    assert slowest_s < 5
    assert peak - before < 24 << 20
    books = await center.get("/nodes/pi-1/streams")
    [results] = [each for each in books["items"] if each["stream"] == "results"]
    assert results["head"] < 100 + pings, "its outbox is not flooded with reports"
