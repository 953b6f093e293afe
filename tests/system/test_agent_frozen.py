"""An agent that is frozen is seen as offline, and is back by itself, with all that it had."""

import os
import signal
from collections.abc import Callable

import pytest
from system.programs import AgentProgram, CenterProgram, until
from system.test_center_killed import at_the_agent
from system.test_center_restored import more_accepted

pytestmark = pytest.mark.processes


async def test_a_frozen_agent_is_offline_and_comes_back_with_everything(
    make_center: Callable[..., CenterProgram],
    make_agent: Callable[[str, int], AgentProgram],
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    assert agent.end() == 0
    agent.argv += ["--keepalive-s", "2"]
    agent.start()
    await center.online("pi-1")
    await more_accepted(center, "pi-1", 3)
    process = agent.process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    try:

        async def gone() -> bool:
            return bool((await center.get("/nodes/pi-1"))["state"] == "offline")

        await until(gone, "that the silence is seen")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    await center.online("pi-1")
    await more_accepted(center, "pi-1", 3)
    assert agent.end() == 0, agent.text()
    items = (await center.get("/nodes/pi-1/streams"))["items"]
    books = {item["stream"]: item for item in items if item["current"]}
    for stream, (epoch, head) in at_the_agent(agent).items():
        if head:
            book = books[stream]
            assert (book["epoch"], book["accepted"], book["lost_records"]) == (epoch, head, 0), book
    assert center.end() == 0
