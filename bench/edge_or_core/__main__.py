"""``python -m bench.edge_or_core``: whether the side that the center chooses is the better one.

Writes ``bench/report-edge-or-core.json`` and ``.svg``, and prints a table. Exit code 0: everything was
measured, whether or not a promise holds; 1: something could not be; 2: wrong usage.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
from farshore_sim.errors import SimError

from bench.context import Context
from bench.edge_or_core import scenario
from bench.edge_or_core.burst import burst
from bench.edge_or_core.drive import Driver, calibrated, everything
from bench.edge_or_core.findings import outcome, totals
from bench.edge_or_core.picture import picture
from bench.edge_or_core.stage import stage
from bench.edge_or_core.table import tables
from bench.edge_or_core.work import get_ahead
from bench.errors import BenchError
from bench.machine import load_average, machine, versions
from bench.program import Report, Say, tell
from bench.report import Circumstances, report

HERE = Path(__file__).parent.parent


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.edge_or_core",
        description="Whether the side that the center chooses for a job is the better one.",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the jobs' sizes; default: 1")
    parser.add_argument("--quick", action="store_true", help="three jobs far from the break-even")
    parser.add_argument(
        "--ahead",
        action="store_true",
        help="before other programs of this machine, where that is allowed (root)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--out", type=Path, default=HERE / "report-edge-or-core", help="the report, without ending"
    )
    return parser.parse_args(argv)


async def measure(seed: int, quick: bool, say: Say, *, ahead: bool = False) -> Report:
    date, before = datetime.now(UTC), load_average()
    wanted = scenario.quick() if quick else scenario.whole(seed)
    if ahead:
        get_ahead(os.getpid())
    with tempfile.TemporaryDirectory(prefix="farshore-bench-") as folder:
        context = Context(quick=quick, data=Path(folder), say=say)
        async with stage(context, wanted.sites, ahead=ahead) as place:
            driver = Driver(place, await asyncio.to_thread(calibrated))
            tried = await everything(context, driver, wanted)
            at_once = await burst(context, driver, wanted)
    where = Circumstances(
        date=date.isoformat(timespec="seconds"),
        quick=quick,
        machine=machine(),
        versions=versions(),
        load_before=before,
        load_after=load_average(),
    )
    return report(where, [outcome(tried, at_once)], []) | {
        "seed": seed,
        "ahead": ahead,
        "totals": {name: round(value, 2) for name, value in totals(tried).items()},
        "jobs": [each.record() for each in tried],
        "burst": at_once.record(),
    }


def main(argv: Sequence[str]) -> int:
    chosen = options(argv)
    try:
        return tell(
            lambda say: measure(chosen.seed, chosen.quick, say, ahead=chosen.ahead),
            files=chosen.out,
            draw=picture,
            as_json=chosen.json,
            show=tables,
        )
    except (BenchError, SimError, httpx.HTTPError, OSError) as exc:
        sys.stderr.write(f"bench.edge_or_core: {exc}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
