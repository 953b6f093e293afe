"""Many seeds, on every core: ``python -m farshore_sim.world.soak --seeds 10000``.

Writes a report of what was run and found. A failing seed is named, and replayed and shrunk by
``farshore-sim world --seed``.
"""

import argparse
import datetime
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from farshore_sim.world.faults import draw
from farshore_sim.world.witness import Counts
from farshore_sim.world.world import run_plan

TELL_EVERY_S = 10.0
SEEDS_PER_PROCESS = 200
"""What asyncio and SQLAlchemy keep of a world is given back with the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    seed: int
    nodes: int
    hours: float


def one(task: Task) -> dict[str, Any]:
    outcome = run_plan(draw(task.seed, nodes=task.nodes, hours=task.hours))
    return {
        "seed": task.seed,
        "virtual_s": outcome.virtual_s,
        "counts": asdict(outcome.counts),
        "violations": [str(violation) for violation in outcome.violations],
    }


def soak(options: argparse.Namespace) -> dict[str, Any]:
    seeds = range(options.first, options.first + options.seeds)
    tasks = [Task(seed=seed, nodes=options.nodes, hours=options.hours) for seed in seeds]
    started = datetime.datetime.now(datetime.UTC)
    started_s = told_s = time.monotonic()
    counts = dict.fromkeys((field.name for field in fields(Counts)), 0)
    failed: list[dict[str, Any]] = []
    virtual_s = 0.0
    with multiprocessing.Pool(options.processes, maxtasksperchild=SEEDS_PER_PROCESS) as pool:
        for done, result in enumerate(pool.imap_unordered(one, tasks), start=1):
            virtual_s += result["virtual_s"]
            for name, count in result["counts"].items():
                counts[name] += count
            if result["violations"]:
                failed.append({key: result[key] for key in ("seed", "violations")})
                _say(f"seed {result['seed']}: {result['violations'][0]}")
            if time.monotonic() - told_s >= TELL_EVERY_S:
                told_s = time.monotonic()
                rate = done / (told_s - started_s)
                _say(f"{done} of {len(tasks)} seeds, {rate:.2f} a second, {len(failed)} failed")
    took_s = time.monotonic() - started_s
    return {
        "commit": _commit(),
        "started": started.isoformat(timespec="seconds"),
        "took_s": round(took_s, 1),
        "processes": options.processes,
        "first_seed": seeds.start,
        "seeds": len(seeds),
        "nodes": options.nodes,
        "hours": options.hours,
        "virtual_hours": round(virtual_s / 3600, 1),
        "seeds_a_second": round(len(seeds) / took_s, 3),
        "counts": counts,
        "failed_seeds": len(failed),
        "violations": sorted(failed, key=lambda each: int(each["seed"])),
    }


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 # fixed words
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="soak", description="Runs many simulated worlds.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--report", type=Path, default=Path("soak-report.json"))
    options = parser.parse_args(argv)
    report = soak(options)
    options.report.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    _say(
        f"{report['seeds']} seeds, {report['virtual_hours']} virtual hours in {report['took_s']} s; "
        f"{report['failed_seeds']} failed; report in {options.report}"
    )
    return 1 if report["failed_seeds"] else 0


if __name__ == "__main__":
    sys.exit(main())
