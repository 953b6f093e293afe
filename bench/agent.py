"""What a real agent costs the machine that it runs on: memory, processes, idle CPU.

One farshore-agent with its default settings, connected to a real center. PSS divides pages that
processes share among them (here the interpreter and libraries, with the center's process), so RSS
is given beside it: what the agent can cost at most.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import proc
from bench.center import center
from bench.context import Context
from bench.model import Figure, Outcome, Runs, Verdict
from bench.proc import Memory
from bench.processes import Running, farshore, running

MEMORY_MIB = 40.0
PROCESSES = 1
CPU_PERCENT = 1.0
NODE = "bench-agent"
SETTLE_S = 10.0
"""Its start (imports, facts, the first samples) is not idling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The agent at one moment; ``cpu_percent``: of one core, since the look before."""

    memory: Memory
    processes: int
    threads: int
    cpu_percent: float


def summarise(looks: Sequence[Look]) -> Outcome:
    """Memory is judged by the last look, CPU by the whole time, processes by the worst moment."""
    pss = Runs.of([look.memory.pss for look in looks])
    cpu = Runs.of([look.cpu_percent for look in looks])
    count = Runs.of([look.processes for look in looks])
    memory = Figure(name="pss", what="PSS, look by look", unit="MiB", runs=pss)
    verdicts = (
        Verdict(
            name="agent.memory",
            what="resident memory (PSS) of a connected agent",
            unit="MiB",
            promised=MEMORY_MIB,
            measured=looks[-1].memory.pss,
            sides=(memory,),
        ),
        Verdict(
            name="agent.processes",
            what="processes of an agent",
            unit="processes",
            promised=PROCESSES,
            measured=count.high,
            sides=(Figure(name="processes", what="look by look", unit="processes", runs=count),),
        ),
        Verdict(
            name="agent.cpu",
            what="CPU of an idle agent, of one core",
            unit="%",
            promised=CPU_PERCENT,
            measured=sum(cpu.values) / len(cpu.values),
            sides=(Figure(name="cpu", what="look by look", unit="%", runs=cpu),),
        ),
    )
    figures = (
        Figure(
            name="agent.rss",
            what="RSS: shared pages counted in full",
            unit="MiB",
            runs=Runs.of([look.memory.rss for look in looks]),
        ),
        Figure(
            name="agent.private",
            what="memory that is the agent's alone",
            unit="MiB",
            runs=Runs.of([look.memory.private for look in looks]),
        ),
        Figure(
            name="agent.threads",
            what="threads of an agent",
            unit="threads",
            runs=Runs.of([look.threads for look in looks]),
        ),
    )
    return Outcome(measure="agent", verdicts=verdicts, figures=figures)


async def run(context: Context) -> Outcome:
    folder = context.folder("agent")
    async with center(folder) as found:
        argv = farshore(
            "farshore-agent",
            *("run", "--node", NODE, "--center", found.mqtt_url, "--data", str(folder / "agent")),
        )
        async with running("farshore-agent", *argv, log=folder / "agent.log") as agent:
            await found.online(1, within_s=30)
            context.say("an agent is connected")
            await asyncio.sleep(SETTLE_S)
            looks = await _watch(context, agent)
            await found.online(1, within_s=1)
    return summarise(looks)


async def _watch(context: Context, agent: Running) -> list[Look]:
    """Every 10 s for a minute."""
    count, every_s = (3, 5.0) if context.quick else (6, 10.0)
    looks = []
    cpu_s, at = proc.cpu_s(agent.pid), time.perf_counter()
    for number in range(1, count + 1):
        await asyncio.sleep(every_s)
        agent.check()
        used, now = proc.cpu_s(agent.pid) - cpu_s, time.perf_counter()
        look = Look(
            memory=proc.memory(agent.pid),
            processes=proc.processes(agent.pid),
            threads=proc.threads(agent.pid),
            cpu_percent=100 * used / (now - at),
        )
        cpu_s, at = cpu_s + used, now
        looks.append(look)
        context.say(
            f"agent, look {number} of {count}: PSS {look.memory.pss:.1f} MiB, "
            f"{look.cpu_percent:.2f} % of a core"
        )
    return looks
