"""``python -m bench.failover``: how soon work goes on when its node, or its process, is killed.

Writes ``bench/report-failover.json`` and ``.svg``, and prints tables. Exit code 0: everything was
measured, whether or not a promise holds; 1: something could not be; 2: wrong usage; 130: ended by Ctrl-C.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx

from bench.context import Context
from bench.errors import BenchError
from bench.failover import nodes, process
from bench.failover.findings import Found, outcomes
from bench.failover.nodes import KEEP, STOP
from bench.failover.picture import picture
from bench.failover.stage import HEARTBEAT_S
from bench.failover.table import tables
from bench.machine import load_average, machine, versions
from bench.program import Report, Say, tell
from bench.report import Circumstances, Failure, report

HERE = Path(__file__).parent.parent
PARTS = ("nodes", "processes")


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.failover",
        description="How soon work goes on when its node, or its process, is killed.",
    )
    parser.add_argument("--only", choices=PARTS, help="only this part")
    parser.add_argument(
        "--quick", action="store_true", help="few nodes and kills: rough figures, and it says so"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args(argv)


async def measure(parts: Sequence[str], quick: bool, say: Say) -> Report:
    """The report; a part that fails does not keep the other from being measured."""
    date, before = datetime.now(UTC), load_average()
    found: Found | None = None
    real: list[float] = []
    failures = []
    with tempfile.TemporaryDirectory(prefix="farshore-bench-") as folder:
        context = Context(quick=quick, data=Path(folder), say=say)
        for part in parts:
            say(f"— {part} —")
            try:
                if part == "nodes":
                    found = await nodes.run(context)
                else:
                    real = await process.run(context)
            except (BenchError, httpx.HTTPError, OSError) as exc:
                failures.append(Failure(measure=part, detail=f"{type(exc).__name__}: {exc}"))
                say(f"{part} could not be measured: {exc}")
    where = Circumstances(
        date=date.isoformat(timespec="seconds"),
        quick=quick,
        machine=machine(),
        versions=versions(),
        load_before=before,
        load_after=load_average(),
    )
    return report(where, [outcomes(found, real)], failures) | {
        "heartbeat_s": HEARTBEAT_S,
        "contracts": {
            each.name: {**each.disconnect, "stop_grace_s": each.stop_grace_s}
            for each in (KEEP, STOP)
        },
        "failover": [] if found is None else [row.record() for row in found.rows],
    }


def main(argv: Sequence[str]) -> int:
    chosen = options(argv)
    return tell(
        lambda say: measure(PARTS if chosen.only is None else (chosen.only,), chosen.quick, say),
        files=HERE / "report-failover",
        draw=picture,
        as_json=chosen.json,
        show=tables,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
