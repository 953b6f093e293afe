"""A thousand nodes on one center: what they cost it, and how long a command to all takes.

farshore-sim holds the nodes in a process of its own: the agent's own code, a connection each. The
simulator needs CPU too; its use is a figure, because on a machine with few cores it takes from the
center's.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench import proc
from bench.center import Center, center
from bench.context import Context
from bench.errors import BenchError
from bench.machine import load_average
from bench.model import Figure, Outcome, Runs, Verdict, percentile
from bench.processes import Running, farshore, running

NODES = 1_000
CPU_CORES = 1.0
COMMAND_S = 2.0
ONE_MS = 50.0
SETTLE_S = 15.0
"""After all are online: their facts and first batches are behind them."""
BETWEEN_S = 2.0
WAIT_S = 60.0
ONE_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A part of the time under normal load; CPU use in cores."""

    center_cores: float
    simulator_cores: float
    records_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandTimes:
    """``seen_s``: from the POST's start until its answer says done (it waits for that);
    ``committed_s``: from the command's creation until the last target's end, by the center's times."""

    seen_s: float
    committed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFindings:
    slices: tuple[Slice, ...]
    to_all: tuple[CommandTimes, ...]
    to_one: tuple[CommandTimes, ...]
    center_rss_mib: float
    simulator_rss_mib: float
    load: float


def summarise(found: FleetFindings) -> Outcome:
    cores = Runs.of([part.center_cores for part in found.slices])
    seen = Runs.of([times.seen_s for times in found.to_all])
    one_ms = [times.seen_s * 1000 for times in found.to_one]
    committed = Runs.of([times.committed_s for times in found.to_all])
    verdicts = (
        Verdict(
            name="fleet.cpu",
            what=f"CPU use of a center with {NODES} nodes online",
            unit="cores",
            promised=CPU_CORES,
            strict=True,
            measured=sum(cores.values) / len(cores.values),
            sides=(Figure(name="center", what="part by part", unit="cores", runs=cores),),
        ),
        Verdict(
            name="fleet.command",
            what=f"a command to {NODES} nodes, until every result is committed (the slowest run)",
            unit="s",
            promised=COMMAND_S,
            measured=max(seen.high, committed.high),
            sides=(
                Figure(name="seen", what="as a program sees it", unit="s", runs=seen),
                Figure(name="committed", what="by the center's times", unit="s", runs=committed),
            ),
        ),
        Verdict(
            name="fleet.one",
            what=f"a command to one of {NODES} nodes under normal load, 99 of 100",
            unit="ms",
            promised=ONE_MS,
            measured=percentile(one_ms, 99),
            sides=(
                Figure(name="seen", what="as a program sees it", unit="ms", runs=Runs.of(one_ms)),
            ),
        ),
    )
    return Outcome(measure="fleet", verdicts=verdicts, figures=_figures(found))


def _figures(found: FleetFindings) -> tuple[Figure, ...]:
    seen = [times.seen_s * 1000 for times in found.to_one]
    committed = [times.committed_s * 1000 for times in found.to_one]

    def one(name: str, what: str, unit: str, *values: float) -> Figure:
        return Figure(name=f"fleet.{name}", what=what, unit=unit, runs=Runs.of(values))

    return (
        one("ping.p50", "a ping to one node, median", "ms", percentile(seen, 50)),
        one("ping.p95", "a ping to one node, 95 of 100", "ms", percentile(seen, 95)),
        one("ping.committed", "a ping to one node, by the center's times", "ms", *committed),
        one("load", "load average over a minute, at the end", "", found.load),
        one(
            "records",
            "records accepted under normal load",
            "records/s",
            *(part.records_per_s for part in found.slices),
        ),
        one(
            "simulator_cpu",
            "CPU use of the simulator",
            "cores",
            *(part.simulator_cores for part in found.slices),
        ),
        one("center_rss", "RSS of the center", "MiB", found.center_rss_mib),
        one("simulator_rss", "RSS of the simulator", "MiB", found.simulator_rss_mib),
    )


async def run(context: Context) -> Outcome:
    folder = context.folder("fleet")
    async with center(folder) as found:
        argv = farshore("farshore-sim", *("run", "--nodes", str(NODES), "--center", found.mqtt_url))
        async with running("farshore-sim", *argv, log=folder / "sim.log") as simulator:
            context.say(f"{NODES} nodes connect")
            await found.online(NODES, within_s=120)
            context.say(f"{NODES} nodes are online; their first records arrive")
            await asyncio.sleep(SETTLE_S)
            slices = await _watch(context, found, simulator)
            to_all = await _to_all(context, found)
            to_one = await _to_one(context, found)
            await found.online(NODES, within_s=1)
            findings = FleetFindings(
                slices=tuple(slices),
                to_all=tuple(to_all),
                to_one=tuple(to_one),
                center_rss_mib=proc.memory(found.process.pid).rss,
                simulator_rss_mib=proc.memory(simulator.pid).rss,
                load=load_average()[0],
            )
    return summarise(findings)


async def _watch(context: Context, found: Center, simulator: Running) -> list[Slice]:
    count, every_s = (2, 10.0) if context.quick else (6, 10.0)
    pids = (found.process.pid, simulator.pid)

    async def read() -> tuple[float, float, float, float]:
        accepted = (await found.metrics())["farshore_ingest_accepted_total"]
        return time.perf_counter(), proc.cpu_s(pids[0]), proc.cpu_s(pids[1]), accepted

    slices = []
    before = await read()
    for number in range(1, count + 1):
        await asyncio.sleep(every_s)
        simulator.check()
        now = await read()
        seconds, *used = (b - a for a, b in zip(before, now, strict=True))
        part = Slice(
            center_cores=used[0] / seconds,
            simulator_cores=used[1] / seconds,
            records_per_s=used[2] / seconds,
        )
        before = now
        slices.append(part)
        context.say(
            f"normal load, part {number} of {count}: center {part.center_cores:.2f} cores, "
            f"{part.records_per_s:.0f} records/s"
        )
    return slices


async def _to_all(context: Context, found: Center) -> list[CommandTimes]:
    count = 2 if context.quick else 5
    runs = []
    for number in range(1, count + 1):
        times = await _ping(found, NODES, all=True)
        runs.append(times)
        context.say(
            f"command to all, {number} of {count}: {times.seen_s:.2f} s "
            f"({times.committed_s:.2f} s by the center's times)"
        )
        await asyncio.sleep(BETWEEN_S)
    return runs


async def _to_one(context: Context, found: Center) -> list[CommandTimes]:
    count = 50 if context.quick else 400
    context.say(f"a ping to one node, {count} times")
    nodes = [item["name"] for item in (await found.get("/api/v1/nodes?limit=1000"))["items"]]
    runs = []
    for number in range(count):
        node = nodes[number * len(nodes) // count]
        runs.append(await _ping(found, 1, node=node))
        await asyncio.sleep(ONE_EVERY_S)
    return runs


async def _ping(found: Center, targets: int, **whom: Any) -> CommandTimes:
    started = time.perf_counter()
    done = await found.command(WAIT_S, verb="ping", args={}, ttl_s=60, **whom)
    seen_s = time.perf_counter() - started
    if done["summary"] != {"succeeded": targets}:
        raise BenchError(f"ping: expected {targets} nodes to succeed, got {done['summary']}")
    return CommandTimes(seen_s=seen_s, committed_s=committed_s(done))


def committed_s(command: dict[str, Any]) -> float:
    """From the command's creation until its last target's last state, in seconds."""
    last = max(datetime.fromisoformat(target["history"][-1][1]) for target in command["targets"])
    return (last - datetime.fromisoformat(command["created_at"])).total_seconds()
