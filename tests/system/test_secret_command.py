"""A secret command as a person gives it: the answer comes, and no history has its words."""

import asyncio
import os
import subprocess
from collections.abc import Callable

import pytest
from system.programs import BIN, AgentProgram, CenterProgram

pytestmark = pytest.mark.processes

WORD = "hush-hush"


async def test_the_answer_is_seen_and_the_words_stay_nowhere(
    make_center: Callable[..., CenterProgram], make_agent: Callable[[str, int], AgentProgram]
) -> None:
    center = make_center()
    await center.ready()
    make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")

    async def farshore(*words: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            [str(BIN / "farshore"), "--url", center.url, *words],
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    said = await farshore("run", "pi-1", "--secret", "exec", "--arg", f"stdin={WORD}", "--", "cat")
    assert WORD in said
    (made,) = (await center.get("/commands"))["items"]
    shown = await farshore("command", made["id"])
    assert "(secret: arguments are not shown, output and results will be erased)" in shown
    assert WORD in shown, "for a while who gave it can read the answer"
    assert (made["secret"], made["args"]) == (True, {})
    events = (await center.http.get("/api/v1/events", params={"limit": 500})).text
    assert made["id"] in events
    assert WORD not in events
    assert WORD not in center.text()
