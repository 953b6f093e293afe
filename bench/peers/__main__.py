"""``python -m bench.peers``: Farshore, Salt and Ansible, one after the other, the same work.

Writes ``bench/report-peers.json`` and ``bench/report-peers.svg``, and prints both sides. Exit codes as
of ``python -m bench``: a promise that does not hold is told, and the exit code is still 0.
"""

import argparse
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx

from bench.context import Context
from bench.errors import BenchError
from bench.machine import load_average, machine, versions
from bench.peers import ansible_side, farshore_side, salt_side
from bench.peers.findings import Findings, summarise
from bench.peers.install import HERE, environment
from bench.peers.picture import picture
from bench.peers.size import NODES, Size
from bench.program import Report, Say, tell
from bench.report import Circumstances, Failure, report

PEERS: dict[str, Callable[[Context, Size, Path], Awaitable[Findings]]] = {
    "salt": salt_side.run,
    "ansible": ansible_side.run,
}


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.peers", description="Farshore beside Salt and Ansible."
    )
    parser.add_argument(
        "--only", action="append", choices=sorted(PEERS), help="only beside this peer"
    )
    parser.add_argument("--nodes", type=_nodes, default=NODES, help=f"default: {NODES}")
    parser.add_argument(
        "--quick", action="store_true", help="few calls: rough figures, and the report says so"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser.parse_args(argv)


def _nodes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 500):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number from 1 to 500")
    return int(text)


async def measure(peers: Sequence[str], size: Size, quick: bool, say: Say) -> Report:
    """The report; a side that can't be measured does not keep the others from it."""
    found: dict[str, Findings] = {}
    failures: list[Failure] = []
    loads: list[tuple[str, list[float]]] = []
    date, load_before = datetime.now(UTC), load_average()
    with tempfile.TemporaryDirectory(prefix="farshore-peers-") as folder:
        context = Context(quick=quick, data=Path(folder), say=say)

        async def take(name: str, work: Callable[[], Awaitable[Findings]]) -> None:
            say(f"— {name} —")
            try:
                found[name] = await work()
            except (BenchError, httpx.HTTPError, OSError) as exc:
                failures.append(Failure(measure=name, detail=f"{type(exc).__name__}: {exc}"))
                say(f"{name} could not be measured: {exc}")
            loads.append((name, load_average()))

        places = {}
        for name in peers:
            # Before anything is measured: what pip does must not fall into it.
            try:
                places[name] = await environment(name, context)
            except (BenchError, OSError) as exc:
                failures.append(Failure(measure=name, detail=str(exc)))
                say(f"{name} could not be installed: {exc}")
        await take("farshore", partial(farshore_side.run, context, size))
        for name, place in places.items():
            await take(name, partial(PEERS[name], context, size, place))
    circumstances = Circumstances(
        date=date.isoformat(timespec="seconds"),
        quick=quick,
        machine=machine(),
        versions=versions() | {name: _version(name) for name in peers},
        load_before=load_before,
        load_after=load_average(),
    )
    outcomes = [summarise(size.nodes, found, loads)] if "farshore" in found else []
    return report(circumstances, outcomes, failures)


def _version(peer: str) -> str:
    """What its list of packages pins."""
    package = {"ansible": "ansible-core"}.get(peer, peer)
    lines = (HERE / f"{peer}.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    return pins[package]


def main(argv: Sequence[str]) -> int:
    chosen = options(argv)
    peers = [name for name in PEERS if chosen.only is None or name in chosen.only]
    size = Size.of(chosen.nodes, quick=chosen.quick)
    return tell(
        lambda say: measure(peers, size, chosen.quick, say),
        files=HERE.parent / "report-peers",
        draw=picture,
        as_json=chosen.json,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
