"""A thousand simulated nodes with services on them; nodes are killed, and their runs."""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from bench import proc
from bench.center import Center, center
from bench.context import Context
from bench.failover.deeds import Deeds, Moved
from bench.failover.findings import Found, Placed, Row
from bench.failover.stage import MORTAL, STEADY, Contract, Group, Stage, keys_of

T = TypeVar("T")
GrantKey = tuple[str, int, int]

NODES = 1_000
STEADY_PROCESSES = 4
ALONE = 100
TOGETHER = (5,) * 12
QUICK_NODES, QUICK_ALONE, QUICK_TOGETHER = 120, 20, (5, 5)
WAYS = ("killed", "frozen")
KEEP = Contract(name="keep", disconnect={"lost_after_s": 1.0}, tasks=10, count=100)
STOP = Contract(
    name="stop",
    disconnect={"on_disconnect": "stop", "lost_after_s": 3.0},
    tasks=2,
    count=50,
    mortal=True,
)
SETTLE_S = 8.0
"""After all are online their facts and first batches are behind them."""
IDLE_S = 8.0
PAUSE_S, PAUSE_TOGETHER_S, PAUSE_RUNS_S = 0.6, 2.0, 0.1
RUNS, QUICK_RUNS = 200, 30


async def run(context: Context) -> Found:
    nodes = QUICK_NODES if context.quick else NODES
    alone = QUICK_ALONE if context.quick else ALONE
    together = QUICK_TOGETHER if context.quick else TOGETHER
    keep, stop = (share_of(each, nodes / NODES) for each in (KEEP, STOP))
    rng = random.Random(1)  # noqa: S311 # who is killed when
    folder = context.folder("failover")
    async with contextlib.AsyncExitStack() as stack:
        found = await stack.enter_async_context(center(folder))
        stage = Stage(folder, found)
        await stack.enter_async_context(stage.herd())
        steady = await stage.add(STEADY, split(nodes - alone - sum(together), STEADY_PROCESSES))
        mortal = await stage.add(MORTAL, [1] * alone + list(together))
        await stage.online(nodes, within_s=120)
        context.say(f"{nodes:,} nodes are online")
        await asyncio.sleep(SETTLE_S)
        cores = Cores(found)
        await cores.during("without work", asyncio.sleep(IDLE_S))
        placed = await _place(stage, keep)
        context.say(f"{placed.instances:,} instances run after {placed.running_s:.1f} s")
        await stage.put(stop)
        await stage.at_work(keys_of(keep) | keys_of(stop), 60)
        await asyncio.sleep(SETTLE_S)
        await cores.during("with work", asyncio.sleep(IDLE_S))
        deeds = Deeds(stage, rng)
        moved = await cores.during("while nodes die", _kill(context, deeds, mortal, rng))
        runs = QUICK_RUNS if context.quick else RUNS
        simulated = await deeds.kill_runs(steady, runs, PAUSE_RUNS_S)
        context.say(f"runs killed: again after {max(simulated):.3f} s at most")
        lost = await _lost(found, (*keep.names(), *stop.names()))
    killed = {(*each.key, each.epoch) for each in moved}
    return Found(
        nodes=nodes,
        rows=rows(moved, lost, (keep, stop)),
        simulated=tuple(simulated),
        placed=placed,
        mistaken=len(lost.keys() - killed),
        cores=cores.found,
    )


def share_of(contract: Contract, share: float) -> Contract:
    """An instance that goes on for each node; those that end with their lease are on the mortal ones."""
    return replace(contract, count=max(2, round(contract.count * share)))


def split(nodes: int, parts: int) -> list[int]:
    """As evenly as it goes."""
    return [nodes // parts + (part < nodes % parts) for part in range(parts)]


class Cores:
    """CPU use of the center's process."""

    def __init__(self, found: Center) -> None:
        self._pid = found.process.pid
        self.found: dict[str, float] = {}

    async def during(self, when: str, work: Awaitable[T]) -> T:
        began_s, began_cpu_s = time.monotonic(), proc.cpu_s(self._pid)
        given = await work
        used_s = proc.cpu_s(self._pid) - began_cpu_s
        self.found[when] = used_s / (time.monotonic() - began_s)
        return given


async def _place(stage: Stage, contract: Contract) -> Placed:
    began_s = time.monotonic()
    seen: list[tuple[float, float, float]] = []

    async def watch() -> None:
        while True:
            now = await stage.found.metrics()
            counts = now["farshore_tasks_placed_total"], now["farshore_tasks_sent_total"]
            seen.append((time.monotonic() - began_s, *counts))
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    try:
        await stage.put(contract)
        await stage.at_work(keys_of(contract), 120)
        running_s = max(began.at_s for began in stage.journal.newest.values()) - began_s
        looked = len(seen)
        while len(seen) < looked + 2:  # the last ones were sent before they ran
            await asyncio.sleep(0.05)
            if watching.done():
                watching.result()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    sent_s = next(at_s for at_s, *counts in seen if counts == list(seen[-1][1:]))
    return Placed(instances=contract.instances, sent_s=sent_s, running_s=running_s)


async def _kill(
    context: Context, deeds: Deeds, mortal: Sequence[Group], rng: random.Random
) -> list[Moved]:
    """One node after the other, then small groups, each at a moment of its own."""
    moved: list[Moved] = []
    for what, pause_s, groups in (
        ("one by one", PAUSE_S, [group for group in mortal if group.members.nodes == 1]),
        ("in groups", PAUSE_TOGETHER_S, [group for group in mortal if group.members.nodes > 1]),
    ):
        drawn = rng.sample(groups, len(groups))
        victims = [(group, WAYS[number % len(WAYS)]) for number, group in enumerate(drawn)]
        found = await deeds.kill_nodes(victims, pause_s)
        slowest_s = max((each.took_s for each in found), default=0.0)
        context.say(
            f"{sum(group.members.nodes for group in groups)} nodes killed {what}: "
            f"{len(found)} instances run elsewhere, the last after {slowest_s:.2f} s"
        )
        moved += found
    return moved


async def _lost(found: Center, tasks: Sequence[str]) -> dict[GrantKey, float]:
    """By the grant that was called lost: when, in milliseconds of the wall clock, by the center's history."""
    at_ms = {}
    for task in tasks:
        for line in (await found.get(f"/api/v1/tasks/{task}/history?limit=1000"))["items"]:
            if line["state"] == "lost":
                moment = datetime.fromisoformat(line["at"])
                at_ms[task, line["instance"], line["epoch"]] = moment.timestamp() * 1000
    return at_ms


def rows(
    moved: Sequence[Moved], lost: Mapping[GrantKey, float], contracts: Sequence[Contract]
) -> tuple[Row, ...]:
    """A row for each contract and way of dying that there was."""
    found = []
    for contract in contracts:
        names = set(contract.names())
        for way in WAYS:
            its = [each for each in moved if each.key[0] in names and each.way == way]
            noticed = [
                (each, (at_ms - each.at_ms) / 1000)
                for each in its
                if (at_ms := lost.get((*each.key, each.epoch))) is not None
            ]
            if its:
                found.append(
                    Row(
                        contract=contract.name,
                        way=way,
                        moved=tuple(its),
                        noticed=tuple(after_s for _, after_s in noticed),
                        rest=tuple(each.took_s - after_s for each, after_s in noticed),
                    )
                )
    return tuple(found)
