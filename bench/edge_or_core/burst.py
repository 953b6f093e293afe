"""A burst: batches over data of one site that come at once, more than its node has room for.

At the edge one waits for the other; to the core all of it has to pass the same link. Whoever takes neither
the queue nor the link into account sends them all the same way.
"""

import os
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

from bench.context import Context
from bench.edge_or_core.drive import EARLIER_RUNS, WITHIN_S, Driver, Where
from bench.edge_or_core.findings import Burst, BurstRan
from bench.edge_or_core.scenario import LITTLE_BYTES, Job, Scenario
from bench.errors import BenchError

NAME = "burst"
LOOK_S = 0.2
WAYS: tuple[Where, ...] = ("auto", "edge", "core")


async def burst(context: Context, driver: Driver, scenario: Scenario) -> Burst:
    """All of them where the center puts them, at their data's own node, and in the core."""
    job, count = scenario.burst, scenario.burst_count
    little = replace(job, size_bytes=LITTLE_BYTES)
    for way in ("edge", "core") * EARLIER_RUNS:
        await _ran(driver, little, 1, way)
    found: dict[str, BurstRan] = {}
    for way in WAYS:
        found[way] = await _ran(driver, job, count, way)
        context.say(f"burst of {count}, {way}: {found[way].line()}")
    return Burst(job=job, **found)


async def _ran(driver: Driver, job: Job, count: int, way: Where) -> BurstRan:
    center = driver.center
    spec = {
        **driver.spec(job, way),
        "count": count,
        "requests": {"cpu_cores": float(os.cpu_count() or 1), "memory_bytes": 32 * 1024 * 1024},
    }
    if way == "edge":
        spec["constraint"] = f"node:{job.site.node}"
    before = await driver.epochs(NAME)
    asked_s = time.time()
    await center.put(f"/api/v1/tasks/{NAME}", spec)

    async def over() -> list[dict[str, Any]] | None:
        instances = (await center.get(f"/api/v1/tasks/{NAME}"))["instances"]
        new = [each for each in instances if (each["epoch"] or 0) > before.get(each["instance"], 0)]
        if failed := [each for each in new if each["state"] == "failed"]:
            raise BenchError(f"{NAME} on {failed[0]['node']} failed: {failed[0]['reason']}")
        done = [each for each in new if each["state"] == "done"]
        return done if len(done) == count else None

    done = await center.until(
        over, f"{count} instances of {NAME} ({way})", within_s=count * WITHIN_S, every_s=LOOK_S
    )
    done.sort(key=lambda each: str(each["since"]))
    return BurstRan(
        nodes=tuple(each["node"] for each in done),
        done_s=tuple(datetime.fromisoformat(each["since"]).timestamp() - asked_s for each in done),
    )
