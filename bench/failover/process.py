"""A real agent with the real process driver: how soon a process that was killed is there again."""

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

from bench.center import Center, center
from bench.context import Context
from bench.errors import BenchError
from bench.failover.stage import HEARTBEAT_S
from bench.processes import farshore, running

NODE = "real"
INSTANCES = 40
KILLS = 200
EVERY_S = 0.3
"""So that each of the instances has run for ten seconds when its turn comes: the pause before a restart
begins anew then, as it does for a process that dies now and then."""
CALM_S = 10.5
WITHIN_S = 30.0
LOOK_S = 0.002


def spec(folder: Path) -> dict[str, Any]:
    """Each instance writes its process id at the end of a file of its own, and then does nothing."""
    script = 'echo $$ >> "$0/$FARSHORE_INSTANCE"; exec sleep 100000'
    return {
        "kind": "service",
        "driver": "process",
        "run": {"argv": ["sh", "-c", script, str(folder)]},
        "count": INSTANCES,
        "requests": {"cpu_cores": 0.01, "memory_bytes": 1 << 20},
    }


async def run(context: Context) -> list[float]:
    """Seconds from each SIGKILL until the next process of the instance has begun its work."""
    folder = context.folder("process")
    pids = folder / "pids"
    pids.mkdir()
    argv = farshore(
        "farshore-agent",
        *("run", "--dev", "--node", NODE, "--data", str(folder / NODE)),
        *("--heartbeat-s", f"{HEARTBEAT_S:g}"),
    )
    async with contextlib.AsyncExitStack() as stack:
        found = await stack.enter_async_context(center(folder))
        await stack.enter_async_context(
            running(NODE, *argv, "--center", found.mqtt_url, log=folder / "agent.log")
        )
        await found.online(1, within_s=30)
        await found.put("/api/v1/tasks/beat", spec(pids))
        for number in range(INSTANCES):
            await _next(pids / str(number), 0)
        context.say(f"{INSTANCES} processes of a real agent run")
        took = await _kill(context, pids)
        await _end(found)
    return took


async def _kill(context: Context, pids: Path) -> list[float]:
    rounds = 1 if context.quick else KILLS // INSTANCES
    took: list[float] = []
    since_s = [time.monotonic()] * INSTANCES
    for _ in range(rounds):
        for number in range(INSTANCES):
            await asyncio.sleep(max(EVERY_S, since_s[number] + CALM_S - time.monotonic()))
            before = _lines(pids / str(number))
            killed_s = time.monotonic()
            os.kill(int(before[-1]), signal.SIGKILL)
            since_s[number] = await _next(pids / str(number), len(before))
            took.append(since_s[number] - killed_s)
    return took


async def _next(file: Path, known: int) -> float:
    """The moment at which the file had one line more; looked at every few milliseconds."""
    deadline_s = time.monotonic() + WITHIN_S
    while len(_lines(file)) <= known:
        if time.monotonic() > deadline_s:
            raise BenchError(f"no process of instance {file.name} within {WITHIN_S:g} s")
        await asyncio.sleep(LOOK_S)
    return time.monotonic()


def _lines(file: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return file.read_text().split("\n")[:-1]
    return []


async def _end(found: Center) -> None:
    """The processes outlive an agent: they are ended before it is."""
    await found.delete("/api/v1/tasks/beat")

    async def gone() -> bool | None:
        return not (await found.get("/api/v1/tasks"))["items"] or None

    await found.until(gone, "the end of all processes", within_s=60)
