"""How soon the center knows that a node is gone, and how soon it has all of them back.

A thousand nodes on one center: simulated ones, and some real agents to freeze and to cut off. Times
run from the deed to the ``node.offline`` event, as a program hears it by server-sent events.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from farshore_sim.faults.link_faults import HalfOpen

from bench.center import center
from bench.context import Context
from bench.model import Figure, Outcome, Runs, Verdict, percentile
from bench.presence_stage import HEARTBEAT_S, Stage, Watch
from bench.processes import free_port

NODES = 1_000
KILLED_AT_ONCE = 100
REAL = 10
CABLED = 5
ROUNDS = 4
KILLED_S = 1.0
SILENT_S = 3 * HEARTBEAT_S
BACK_S = 10.0
ANSWER_S = 2.0
SETTLE_S = 10.0
POLL_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceFindings:
    """Seconds. ``back``: from the start of the new center; ``healthz``, ``nodes``: answers of it;
    ``arrivals``: how many nodes came back within the busiest second."""

    killed: tuple[float, ...]
    frozen: tuple[float, ...]
    cut: tuple[float, ...]
    ready: float
    back: float
    arrivals: float
    healthz: tuple[float, ...]
    nodes: tuple[float, ...]


def summarise(found: PresenceFindings) -> Outcome:
    def verdict(
        name: str, what: str, promised: float, measured: float, runs: Sequence[float]
    ) -> Verdict:
        side = Figure(name=name, what="one by one", unit="s", runs=Runs.of(runs))
        return Verdict(
            name=f"presence.{name}",
            what=what,
            unit="s",
            promised=promised,
            measured=measured,
            sides=(side,),
        )

    def figure(name: str, what: str, values: Sequence[float]) -> Figure:
        return Figure(name=f"presence.{name}", what=what, unit="s", runs=Runs.of(values))

    killed = percentile(found.killed, 99)
    return Outcome(
        measure="presence",
        verdicts=(
            verdict(
                "killed", "a killed node is offline (99 of 100)", KILLED_S, killed, found.killed
            ),
            verdict(
                "frozen",
                "a frozen agent is offline (the slowest)",
                SILENT_S,
                max(found.frozen),
                found.frozen,
            ),
            verdict(
                "cut",
                "a node behind a cut cable is offline (the slowest)",
                SILENT_S,
                max(found.cut),
                found.cut,
            ),
            verdict(
                "back",
                f"all {NODES} nodes are back after the center was killed",
                BACK_S,
                found.back,
                (found.back,),
            ),
            verdict(
                "answers",
                "the center answers while all come back (the slowest answer)",
                ANSWER_S,
                max(*found.healthz, *found.nodes),
                (*found.healthz, *found.nodes),
            ),
        ),
        figures=(
            figure("ready", "the killed center is ready again", (found.ready,)),
            Figure(
                name="presence.arrivals",
                what="nodes that come back in the busiest second",
                unit="nodes",
                runs=Runs.of((found.arrivals,)),
            ),
            figure("healthz", "GET /healthz while all come back", found.healthz),
            figure("nodes", "GET /api/v1/nodes while all come back", found.nodes),
        ),
    )


async def run(context: Context) -> Outcome:
    folder = context.folder("presence")
    ports = free_port(), free_port()
    async with contextlib.AsyncExitStack() as stack:
        found = await stack.enter_async_context(center(folder, ports))
        watch = Watch(found.http_url)
        watching = asyncio.create_task(watch.run())
        stack.push_async_callback(_end, watching)
        stage = Stage(folder, found, watch, nodes=NODES)
        killed = await _fill(context, stage, stack)
        frozen, cut = await _silence(context, stage)
        async with stage.simulated("gone", KILLED_AT_ONCE):
            await stage.online()
            context.say(f"{NODES} nodes are online; the center is killed")
            await asyncio.sleep(SETTLE_S)
            os.kill(found.process.pid, signal.SIGKILL)
            again = await _restarted(context, folder, ports)
    return summarise(
        PresenceFindings(
            killed=tuple(killed),
            frozen=tuple(frozen),
            cut=tuple(cut),
            ready=again.ready,
            back=again.heard[-1][0],
            arrivals=busiest(again.heard),
            healthz=tuple(again.polls["/healthz"]),
            nodes=tuple(again.polls["/api/v1/nodes"]),
        )
    )


def busiest(heard: Sequence[tuple[float, float]], window_s: float = 1.0) -> float:
    """The steepest rise within a window, of a count that was looked at again and again."""
    return max(
        after - before
        for start_s, before in heard
        for at_s, after in heard
        if start_s <= at_s <= start_s + window_s
    )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _fill(context: Context, stage: Stage, stack: contextlib.AsyncExitStack) -> list[float]:
    """A thousand nodes; then a hundred simulated ones are killed at once, real ones one by one."""
    await stage.cable.start()
    stack.push_async_callback(stage.cable.stop)
    rest = NODES - KILLED_AT_ONCE - REAL
    await stack.enter_async_context(stage.simulated("sim", rest))
    names = [f"real-{number}" for number in range(REAL)]
    for number, name in enumerate(names):
        port = stage.cable.port if number < CABLED else stage.found.mqtt_port
        await stage.agent(stack, name, port)
    async with stage.simulated("gone", KILLED_AT_ONCE) as simulator:
        await stage.online()
        context.say(f"{NODES} nodes are online")
        await stage.watch.subscribed.wait()
        await asyncio.sleep(SETTLE_S)
        gone = [f"gone-{number:03}" for number in range(1, KILLED_AT_ONCE + 1)]
        killed = await stage.killed(simulator, gone)
        context.say(
            f"{KILLED_AT_ONCE} nodes killed at once: the last seen after {max(killed):.3f} s"
        )
    direct = names[CABLED:]
    one_by_one = await stage.one_by_one(
        direct, lambda name: stage.signal(name, signal.SIGKILL), lambda _name: None
    )
    context.say(f"agents killed one by one: seen after {max(one_by_one):.3f} s at most")
    for name in direct:
        await stage.agent(stack, name, stage.found.mqtt_port)
    return killed + one_by_one


async def _silence(context: Context, stage: Stage) -> tuple[list[float], list[float]]:
    """Agents that are frozen, and agents whose cable is cut; each is well again afterwards."""
    rounds = 1 if context.quick else ROUNDS
    cabled = [f"real-{number}" for number in range(CABLED)]
    direct = [f"real-{number}" for number in range(CABLED, REAL)]
    frozen: list[float] = []
    cut: list[float] = []
    for _ in range(rounds):
        await stage.found.online(NODES - KILLED_AT_ONCE, within_s=60)
        await asyncio.sleep(HEARTBEAT_S)
        frozen += await stage.one_by_one(
            direct,
            lambda name: stage.signal(name, signal.SIGSTOP),
            lambda name: stage.signal(name, signal.SIGCONT),
        )
        since = dict.fromkeys(cabled, time.monotonic())
        stage.cable.put(HalfOpen())
        cut += await stage.watch.gone(since, 60)
        stage.cable.take(HalfOpen)
    context.say(f"frozen: at most {max(frozen):.2f} s; cut off: at most {max(cut):.2f} s")
    return frozen, cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """A center that was started again; ``heard``: births by seconds since its start; ``polls``: how
    long each answer took, by path."""

    ready: float
    heard: list[tuple[float, float]]
    polls: dict[str, list[float]]


async def _restarted(context: Context, folder: Path, ports: tuple[int, int]) -> Again:
    """The center starts on the same data; returns when all are back."""
    started_s = time.monotonic()
    async with center(folder, ports) as found:
        ready = time.monotonic() - started_s
        heard: list[tuple[float, float]] = [(ready, 0.0)]
        polls: dict[str, list[float]] = {"/healthz": [], "/api/v1/nodes": []}
        polling = [asyncio.create_task(_poll(found.http_url, path, polls[path])) for path in polls]

        async def back() -> bool | None:
            now = await found.metrics()
            births = now.get('farshore_received_total{kind="birth"}', 0)
            heard.append((time.monotonic() - started_s, births))
            return min(births, now["farshore_nodes_online"]) >= NODES or None

        try:
            await found.until(back, "all nodes to be back", within_s=180, every_s=0.1)
            took = heard[-1][0]

            async def answered() -> bool | None:
                return all(polls.values()) or None

            await found.until(answered, "an answer to each question", within_s=60)
        finally:
            for task in polling:
                task.cancel()
            ended = await asyncio.gather(*polling, return_exceptions=True)
        for problem in ended:
            if isinstance(problem, Exception):
                raise problem
    context.say(f"the center was ready after {ready:.1f} s, all were back after {took:.1f} s")
    return Again(ready=ready, heard=heard, polls=polls)


async def _poll(url: str, path: str, took: list[float]) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        while True:
            asked_s = time.perf_counter()
            (await http.get(path)).raise_for_status()
            took.append(time.perf_counter() - asked_s)
            await asyncio.sleep(POLL_S)
