"""A node that is cut off and starts again: how soon its last good configuration runs.

A real agent gets a configuration from a real center. Then both end, and the agent starts alone: from
the start of its process, imports included, until a file of the configuration that was missing is
back, which comes after the agent's own settings are in effect.
"""

import asyncio
import time
from collections.abc import Callable

from bench import proc
from bench.center import center
from bench.context import Context
from bench.errors import BenchError
from bench.processes import Running, farshore, running

NODE = "bench-alone"
LOOK_S = 0.002
PATIENCE_S = 60.0


async def start_alone(context: Context) -> tuple[list[float], list[float]]:
    """Seconds of each start, and the CPU time of the agent's process until then."""
    folder = context.folder("config-start")
    data = folder / "agent"
    there = data / "files" / "there"
    async with center(folder) as found:
        argv = farshore(
            "farshore-agent",
            *("run", "--dev", "--node", NODE, "--center", found.mqtt_url, "--data", str(data)),
        )
        async with running("farshore-agent", *argv, log=folder / "agent.log") as agent:
            await found.online(1, within_s=PATIENCE_S)
            patch = {
                "agent": {"heartbeat_s": 20, "log_level": "INFO"},
                "files": {str(there): {"template": "{{ node }} on {{ facts.arch }}\n"}},
            }
            await found.put(f"/api/v1/config/node/{NODE}", {"patch": patch, "author": "bench"})
            await _until(agent, there.exists)

            async def applied() -> bool | None:
                config = (await found.get(f"/api/v1/nodes/{NODE}"))["config"]
                return config["state"] == "applied" or None

            await found.until(applied, "the configuration to be applied", within_s=PATIENCE_S)
    seconds, cpu = [], []
    for number in range(3 if context.quick else 10):
        there.unlink()
        begun = time.perf_counter()
        log = folder / f"alone-{number}.log"
        async with running("farshore-agent", *argv, log=log) as agent:
            await _until(agent, there.exists)
            seconds.append(time.perf_counter() - begun)
            cpu.append(proc.cpu_s(agent.pid))
    context.say(f"an agent without its center: {max(seconds):.2f} s to its last good configuration")
    return seconds, cpu


async def _until(agent: Running, back: Callable[[], bool]) -> None:
    deadline = time.perf_counter() + PATIENCE_S
    while not back():
        agent.check()
        if time.perf_counter() > deadline:
            raise BenchError(f"waited {PATIENCE_S:g} s in vain for the configured file")
        await asyncio.sleep(LOOK_S)
