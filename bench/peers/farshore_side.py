"""Farshore's side: real agents with their default settings on one real center."""

import asyncio
import time

from bench.center import Center, center
from bench.context import Context
from bench.errors import BenchError
from bench.peers.findings import Findings
from bench.peers.herd import Program, herd, memory_mib
from bench.peers.shell import call, check_answers
from bench.peers.size import Size
from bench.processes import farshore

ONLINE_WITHIN_S = 240.0
WAIT_S = 60
BODY = {"all": True, "verb": "exec", "args": {"argv": ["uptime"]}}


async def run(context: Context, size: Size) -> Findings:
    folder = context.folder("farshore")
    async with center(folder) as found:
        programs = [
            Program(
                name=f"farshore-agent {name}",
                argv=farshore(
                    "farshore-agent",
                    *("run", "--dev", "--node", name, "--center", found.mqtt_url),
                    *("--data", str(folder / name)),
                ),
                log=folder / f"{name}.log",
            )
            for name in size.names()
        ]
        context.say(f"{size.nodes} farshore-agents start")
        async with herd(programs) as agents:
            await found.online(size.nodes, within_s=ONLINE_WITHIN_S)
            await asyncio.sleep(size.settle_s)
            calls = await _calls(context, found, size)
            shells = await _shells(context, found, size)
            for agent in agents:
                agent.check()
            return Findings(
                calls_s=tuple(calls),
                shells_s=tuple(shells),
                node_mib=tuple(memory_mib(agent.pid) for agent in agents),
                center_mib=memory_mib(found.process.pid),
            )


async def _calls(context: Context, found: Center, size: Size) -> list[float]:
    """One POST that is answered when every target is at its end."""
    seconds = []
    for number in range(size.warm_up + size.calls):
        begun = time.perf_counter()
        command = await found.command(WAIT_S, **BODY)
        took = time.perf_counter() - begun
        if command["summary"] != {"succeeded": size.nodes}:
            raise BenchError(f"exec uptime: expected {size.nodes} to succeed, {command['summary']}")
        said = [chunk["text"] for target in command["targets"] for chunk in target["output"]]
        check_answers("".join(said), size.nodes, "POST /commands")
        if number >= size.warm_up:
            seconds.append(took)
    context.say(f"farshore, {len(seconds)} calls: {sorted(seconds)[len(seconds) // 2]:.3f} s")
    return seconds


async def _shells(context: Context, found: Center, size: Size) -> list[float]:
    argv = farshore("farshore", "--url", found.http_url, *("run", "--all", "exec", "--", "uptime"))
    seconds = []
    for number in range(1 + size.shells):
        called = await call(argv)
        check_answers(called.out, size.nodes, "farshore run")
        if number:
            seconds.append(called.seconds)
    context.say(f"farshore run, {len(seconds)} times: {sorted(seconds)[len(seconds) // 2]:.3f} s")
    return seconds
