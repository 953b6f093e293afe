"""Runs a job through the center as its owner would, on a side or where the center finds best."""

import asyncio
import itertools
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from bench.context import Context
from bench.edge_or_core.findings import Ran, Tried
from bench.edge_or_core.scenario import Job, Kind, Scenario
from bench.edge_or_core.stage import Stage
from bench.edge_or_core.work import compute
from bench.errors import BenchError

Where = Literal["edge", "core", "auto"]

WORK = Path(__file__).parent / "work.py"
LOOK_S = 0.1
WITHIN_S = 120.0
LANES = 2
"""Kinds at work at the same time: no more than there are cores to compute on."""
EARLIER_RUNS = 2


class Driver:
    """``units_s``: units of work that this machine computes in a second."""

    def __init__(self, stage: Stage, units_s: float) -> None:
        self._stage = stage
        self.center = stage.center
        self._units_s = units_s
        self._numbers = itertools.count(1)

    async def run(self, job: Job, where: Where) -> Ran:
        """From its grant until its result is accepted, by the center's clock."""
        center, name = self.center, job.kind.name
        before = (await self.epochs(name)).get(0, 0)
        await center.put(f"/api/v1/tasks/{name}", self.spec(job, where))

        async def over() -> dict[str, Any] | None:
            (one,) = (await center.get(f"/api/v1/tasks/{name}"))["instances"]
            new = (one["epoch"] or 0) > before
            if new and one["state"] == "failed":
                raise BenchError(f"{name} on {one['node']} failed: {one['reason']}")
            return one if new and one["state"] == "done" else None

        one = await center.until(
            over, f"{name} ({where}) to be done", within_s=WITHIN_S, every_s=LOOK_S
        )
        (why,) = (await center.get(f"/api/v1/tasks/{name}/explain"))["instances"]
        return Ran(
            node=one["node"],
            took_s=datetime.fromisoformat(one["since"]).timestamp() - one["epoch"] / 1000,
            expected={
                each["node"]: figure["value"]
                for each in why["candidates"]
                for figure in each["estimate"]
                if figure["name"] == "completion" and figure["value"] is not None
            },
            **one["result"],
        )

    async def epochs(self, name: str) -> dict[int, int]:
        """The last of each instance that it has."""
        items = (await self.center.get("/api/v1/tasks?limit=100"))["items"]
        if name not in [each["name"] for each in items]:
            return {}
        instances = (await self.center.get(f"/api/v1/tasks/{name}"))["instances"]
        return {each["instance"]: each["epoch"] or 0 for each in instances}

    def spec(self, job: Job, where: Where) -> dict[str, Any]:
        units = max(1, round(job.kind.core_s * self._units_s))
        argv = [sys.executable, "-I", "-S", str(WORK), str(self._stage.routes)]
        return {
            "kind": "batch",
            "driver": "process",
            "run": {"argv": [*argv, job.site.node, str(job.size_bytes), str(units)]},
            "requests": {"cpu_cores": 0.4, "memory_bytes": 32 * 1024 * 1024},
            "reads": [{"where": f"node:{job.site.node}", "bytes": job.size_bytes}],
            "where": where,
            "restart": {"policy": "never"},
            # Only so that the same work is run again.
            "env": {"RUN": str(next(self._numbers))},
        }


def calibrated() -> float:
    """Units of work in a second: the best of some tries, as other programs only make it slower."""
    import time

    best = 0.0
    for _ in range(5):
        began_s = time.perf_counter()
        compute(1_000)
        best = max(best, 1_000 / (time.perf_counter() - began_s))
    return best


async def everything(context: Context, driver: Driver, scenario: Scenario) -> list[Tried]:
    """Kind by kind, as a task has one specification at a time; some kinds beside each other."""
    kinds = asyncio.Queue[Kind]()
    for kind in sorted(scenario.kinds, key=lambda kind: -kind.core_s):
        kinds.put_nowait(kind)
    found: list[Tried] = []

    async def lane() -> None:
        while not kinds.empty():
            kind = kinds.get_nowait()
            await _learn(driver, [job for job in scenario.earlier if job.kind is kind])
            for job in scenario.jobs:
                if job.kind is kind:
                    found.append(await tried(driver, job, scenario.rounds))
                    context.say(f"{len(found)} of {len(scenario.jobs)}: {found[-1].line()}")

    async with asyncio.TaskGroup() as group:
        for _ in range(LANES):
            group.create_task(lane())
    return sorted(found, key=lambda each: each.job.number)


async def _learn(driver: Driver, jobs: Sequence[Job]) -> None:
    for job in jobs:
        for where in ("edge", "core") * EARLIER_RUNS:
            await driver.run(job, where)


async def tried(driver: Driver, job: Job, rounds: int) -> Tried:
    """The center chooses first; what the sides take on purpose, it learns only afterwards."""
    auto = await driver.run(job, "auto")
    edge, core = [], []
    for _ in range(rounds):
        edge.append(await driver.run(job, "edge"))
        core.append(await driver.run(job, "core"))
    return Tried(job=job, auto=auto, edge=tuple(edge), core=tuple(core))
