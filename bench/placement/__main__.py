"""``python -m bench.placement FOLDER``: how well and how fast tasks are placed on a trace.

Writes ``bench/report-placement.json`` and ``.svg``, and prints a table. Exit code 0: everything was
measured, whether or not a promise holds; 1: something could not be; 2: wrong usage, or no trace there.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from farshore_center.placement import POLICIES

from bench.errors import BenchError
from bench.machine import load_average, machine, versions
from bench.model import Outcome
from bench.placement.experiment import Run, particular, pushing, run
from bench.placement.findings import POLICY_NAMES, Row, outcomes, rows
from bench.placement.picture import picture
from bench.placement.table import tables
from bench.placement.trace import Trace, traces
from bench.program import Report, Say, tell
from bench.report import Circumstances, report

HERE = Path(__file__).parent.parent
FIRST_SEED = 42
"""As in the paper's own scripts."""

PARTICULAR = 4000
PUSHING = 200


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.placement", description="How well and how fast tasks are placed."
    )
    parser.add_argument("folder", type=Path, help="a trace of openb's form")
    parser.add_argument("--seeds", type=_seeds, default=10, help="runs of each; default: 10")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args(argv)


def _seeds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to 1000")
    return int(text)


async def measure(found: Sequence[Trace], seeds: int, say: Say) -> Report:
    date, before = datetime.now(UTC), load_average()
    table: list[Row] = []
    for trace in found:
        say(
            f"{trace.name}: {len(trace.nodes):,} nodes, {trace.gpus:,} GPUs, {len(trace.tasks):,} tasks"
        )
        runs: dict[str, list[Run]] = {name: [] for name in POLICY_NAMES}
        for number in range(seeds):
            for name in POLICY_NAMES:
                its = await asyncio.to_thread(run, trace, POLICIES[name], FIRST_SEED + number)
                runs[name].append(its)
            said = ", ".join(f"{name} {its[-1].allocated_pct:.2f} %" for name, its in runs.items())
            say(f"{trace.name}, run {number + 1} of {seeds}: {said}")
        table += rows(trace, runs)
    say("decisions in which a selector, likes, data, run times and a deadline count")
    alone = [
        await asyncio.to_thread(
            particular, found[0], POLICIES["default"], FIRST_SEED + at, PARTICULAR
        )
        for at in range(min(seeds, 3))
    ]
    say("who gives way on a full pool")
    pushes = [
        await asyncio.to_thread(pushing, found[0], POLICIES["default"], FIRST_SEED + at, PUSHING)
        for at in range(min(seeds, 3))
    ]
    where = Circumstances(
        date=date.isoformat(timespec="seconds"),
        quick=False,
        machine=machine(),
        versions=versions(),
        load_before=before,
        load_after=load_average(),
    )
    outcome: Outcome = outcomes(table, alone, pushes)
    return report(where, [outcome], []) | {"placement": [row.record() for row in table]}


def main(argv: Sequence[str]) -> int:
    chosen = options(argv)
    try:
        found = traces(chosen.folder)
    except (BenchError, OSError) as exc:
        sys.stderr.write(f"bench.placement: {exc}\n")
        return 2
    return tell(
        lambda say: measure(found, chosen.seeds, say),
        files=HERE / "report-placement",
        draw=picture,
        as_json=chosen.json,
        show=tables,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
