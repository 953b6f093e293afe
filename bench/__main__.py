"""``python -m bench``: measures, writes ``bench/report.json`` and ``bench/report.svg``, prints.

Exit code 0: everything was measured, whether or not what is promised holds; 1: something could not
be measured; 2: wrong usage; 130: ended by Ctrl-C or SIGTERM.
"""

import argparse
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from farshore_edge.errors import EdgeError
from farshore_sim.errors import SimError

from bench import agent, config, fleet, ingest, jobs, outbox, presence, selectors, telemetry
from bench.context import Context
from bench.errors import BenchError
from bench.machine import load_average, machine, versions
from bench.model import Outcome
from bench.picture import picture
from bench.program import tell
from bench.report import Circumstances, Failure, report

HERE = Path(__file__).parent

MEASURES: Mapping[str, Callable[[Context], Awaitable[Outcome]]] = {
    "agent": agent.run,
    "config": config.run,
    "fleet": fleet.run,
    "ingest": ingest.run,
    "jobs": jobs.run,
    "outbox": outbox.run,
    "presence": presence.run,
    "selectors": selectors.run,
    "telemetry": telemetry.run,
}


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures the promises.")
    parser.add_argument(
        "--only",
        action="append",
        choices=sorted(MEASURES),
        help="only this measure (may be given several times)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="short windows: rough figures, and the report says so"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args(argv)


async def measure(names: Sequence[str], quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """The report of these measures; one that fails does not keep the others from being taken."""
    outcomes, failures = [], []
    date, load_before = datetime.now(UTC), load_average()
    with tempfile.TemporaryDirectory(prefix="farshore-bench-") as folder:
        context = Context(quick=quick, data=Path(folder), say=say)
        for name in names:
            say(f"— {name} —")
            try:
                outcomes.append(await MEASURES[name](context))
            except (BenchError, EdgeError, SimError, httpx.HTTPError, OSError) as exc:
                failures.append(Failure(measure=name, detail=f"{type(exc).__name__}: {exc}"))
                say(f"{name} could not be measured: {exc}")
    circumstances = Circumstances(
        date=date.isoformat(timespec="seconds"),
        quick=quick,
        machine=machine(),
        versions=versions(),
        load_before=load_before,
        load_after=load_average(),
    )
    return report(circumstances, outcomes, failures)


def main(argv: Sequence[str]) -> int:
    chosen = options(argv)
    names = [name for name in MEASURES if chosen.only is None or name in chosen.only]
    return tell(
        lambda say: measure(names, chosen.quick, say),
        files=HERE / "report",
        draw=picture,
        as_json=chosen.json,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
