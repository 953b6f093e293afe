"""Jobs: how many nodes a bad payload reaches, and how long a job for a thousand takes."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from bench.center import Center, center
from bench.context import Context
from bench.errors import BenchError
from bench.model import Figure, Outcome, Runs, Verdict
from bench.processes import farshore, running

NODES = 1_000
CANARY = 1.0
"""Of a hundred nodes."""
POLL_S = 0.05
QUIET_S = 3.0
"""After a job has halted: nothing may come any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsFindings:
    """``touched``: percent of the nodes that a bad payload reached, run by run; ``at_once_s``: seconds
    of a good job with all nodes at once, ``hundred_s``: with a hundred; ``steps``: of the latter."""

    touched: tuple[float, ...]
    halted_s: tuple[float, ...]
    at_once_s: tuple[float, ...]
    hundred_s: tuple[float, ...]
    steps: tuple[int, ...]


def summarise(found: JobsFindings) -> Outcome:
    def one(name: str, what: str, unit: str, values: tuple[float, ...]) -> Figure:
        return Figure(name=f"jobs.{name}", what=what, unit=unit, runs=Runs.of(values))

    verdict = Verdict(
        name="jobs.canary",
        what=f"of {NODES} nodes touched by a bad payload with a canary of 1 % (the worst run)",
        unit="%",
        promised=CANARY,
        measured=max(found.touched),
        sides=(one("canary.runs", "run by run", "%", found.touched),),
    )
    figures = (
        one("halted", "until the bad one has halted", "s", found.halted_s),
        one("at_once", f"a job of {NODES} nodes, all at once", "s", found.at_once_s),
        one("hundred", f"a job of {NODES} nodes, 100 at once", "s", found.hundred_s),
        one("steps", "steps of that", "steps", tuple(map(float, found.steps))),
    )
    return Outcome(measure="jobs", verdicts=(verdict,), figures=figures)


async def run(context: Context) -> Outcome:
    folder = context.folder("jobs")
    count = 1 if context.quick else 3
    async with center(folder) as found:
        argv = farshore("farshore-sim", "run", "--nodes", str(NODES), "--center", found.mqtt_url)
        async with running("nodes", *argv, log=folder / "nodes.log"):
            await found.online(NODES, within_s=240)
            context.say(f"{NODES} simulated nodes are online")
            bad = [await _bad(context, found) for _ in range(count)]
            all_at_once = [await _good(context, found, NODES) for _ in range(count)]
            hundred = [await _good(context, found, 100) for _ in range(count)]
    return summarise(
        JobsFindings(
            touched=tuple(each[0] for each in bad),
            halted_s=tuple(each[1] for each in bad),
            at_once_s=tuple(each[0] for each in all_at_once),
            hundred_s=tuple(each[0] for each in hundred),
            steps=tuple(each[1] for each in hundred),
        )
    )


async def _bad(context: Context, found: Center) -> tuple[float, float]:
    """How many nodes were touched, in percent, and how long until it halted."""
    command = {"verb": "exec", "args": {"argv": ["false"]}}
    rules = {"waves": {"sizes": ["1%", "100%"]}, "at_once": NODES}
    job, seconds = await _run(found, command, rules, "halted")
    await asyncio.sleep(QUIET_S)
    after = await found.get(f"/api/v1/jobs/{job['id']}")
    if after["total"] != NODES:
        raise BenchError(f"a job of {NODES} nodes expected, got {after['total']}")
    touched = 100 * after["touched"] / NODES
    context.say(f"a bad payload: {touched:g} % touched, halted after {seconds:.2f} s")
    return touched, seconds


async def _good(context: Context, found: Center, at_once: int) -> tuple[float, int]:
    """Seconds until every node has succeeded, and the steps that it took."""
    before = (await found.metrics())["farshore_jobs_steps_total"]
    _job, seconds = await _run(found, {"verb": "ping"}, {"at_once": at_once}, "succeeded")
    steps = int((await found.metrics())["farshore_jobs_steps_total"] - before)
    context.say(f"a job of {NODES} nodes, {at_once} at once: {seconds:.2f} s, {steps} steps")
    return seconds, steps


async def _run(
    found: Center, command: dict[str, Any], rules: dict[str, Any], end: str
) -> tuple[dict[str, Any], float]:
    body = {"name": "bench", "selector": "all", "command": command, "rules": rules}
    begun = time.perf_counter()
    job = await found.post("/api/v1/jobs", body)

    async def ended() -> dict[str, Any] | None:
        now: dict[str, Any] = await found.get(f"/api/v1/jobs/{job['id']}")
        return now if now["state"] in ("succeeded", "halted") else None

    last = await found.until(ended, f"a job to be {end}", within_s=180, every_s=POLL_S)
    if last["state"] != end:
        raise BenchError(f"a job is {last['state']}, not {end}: {last['reason']} {last['counts']}")
    return last, time.perf_counter() - begun
