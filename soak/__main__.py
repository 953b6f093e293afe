"""``python -m soak kills``, ``python -m soak brokers`` and ``python -m soak config``.

Exit code 0: every promise held; 1: one did not, or the soak could not be run (the data folder is
kept, and named); 2: wrong usage; 130: ended by Ctrl-C or SIGTERM.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from farshore_sim.errors import SimError

from soak.broker import KINDS
from soak.brokers import BrokersSettings, brokers
from soak.config import ConfigSettings, ConfigSoak
from soak.errors import SoakError
from soak.kills import KillsSettings, KillsSoak
from soak.report import commit, report, write
from soak.violation import Findings

KILLS, BROKERS, CONFIG = KillsSettings(), BrokersSettings(), ConfigSettings()
Settings = KillsSettings | BrokersSettings | ConfigSettings


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__.splitlines()[0])
    soaks = parser.add_subparsers(dest="soak", required=True)
    kills = soaks.add_parser("kills", help="SIGKILL of agents and of the center, under load")
    kills.add_argument("--agent-kills", type=_count, default=KILLS.agent_kills)
    kills.add_argument("--center-kills", type=_count, default=KILLS.center_kills)
    kills.add_argument("--nodes", type=_count, default=KILLS.nodes)
    kills.add_argument("--limit-s", type=float, default=KILLS.limit_s)
    broker = soaks.add_parser("brokers", help="the broker killed and its storage wiped, under load")
    broker.add_argument("--kills", type=_count, default=BROKERS.kills)
    broker.add_argument("--kind", action="append", choices=sorted(KINDS), help="only this one")
    broker.add_argument("--nodes", type=_count, default=BROKERS.nodes)
    config = soaks.add_parser("config", help="SIGKILL of a node's configuration transaction")
    config.add_argument("--kills", type=_count, default=CONFIG.kills)
    for soak in (kills, broker):
        soak.add_argument(
            "--may-lose",
            action="append",
            default=[],
            metavar="REASON",
            help="metrics may be declared lost for this reason (several times)",
        )
    for soak in (kills, broker, config):
        soak.add_argument("--seed", type=int, default=1)
        soak.add_argument(
            "--data", type=Path, help="keep the data there; default: a temporary folder"
        )
        soak.add_argument(
            "--report", type=Path, help="write NAME.json and NAME.md into this folder"
        )
    return parser.parse_args(argv)


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError("expected no negative number")
    return number


def say(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")


def settings_of(chosen: argparse.Namespace) -> Settings:
    if chosen.soak == "config":
        return ConfigSettings(kills=chosen.kills, seed=chosen.seed)
    may_lose = tuple(chosen.may_lose)
    if chosen.soak == "kills":
        return KillsSettings(
            agent_kills=chosen.agent_kills,
            center_kills=chosen.center_kills,
            nodes=max(1, chosen.nodes),
            seed=chosen.seed,
            limit_s=chosen.limit_s,
            may_lose=may_lose,
        )
    return BrokersSettings(
        kinds=tuple(chosen.kind or KINDS),
        kills=chosen.kills,
        nodes=max(1, chosen.nodes),
        seed=chosen.seed,
        may_lose=may_lose,
    )


def work_of(settings: Settings, data: Path) -> Coroutine[Any, Any, Findings]:
    if isinstance(settings, ConfigSettings):
        return ConfigSoak(settings, data, say).run()
    if isinstance(settings, KillsSettings):
        return KillsSoak(settings, data, say).run()
    return brokers(settings, data, say)


async def _until_asked(work: Coroutine[Any, Any, Findings]) -> Findings | None:
    """SIGTERM and Ctrl-C cancel the soak, and it ends every process that it started."""
    task = asyncio.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


def _failed(problems: Sequence[Exception], data: Path) -> int:
    """Of several tasks at once: what happened to each of them."""
    for problem in problems:
        if isinstance(problem, ExceptionGroup):
            return _failed(problem.exceptions, data)
        if not isinstance(problem, SoakError | SimError | OSError):
            raise problem
        say(f"could not be run: {problem}")
    say(f"the data are kept in {data}")
    return 1


def main(argv: Sequence[str]) -> int:
    chosen = options(argv)
    settings = settings_of(chosen)
    data = chosen.data or Path(tempfile.mkdtemp(prefix="farshore-soak-"))
    data.mkdir(parents=True, exist_ok=True)
    began, code = datetime.now(UTC), commit()
    try:
        found = asyncio.run(_until_asked(work_of(settings, data)))
    except ExceptionGroup as group:
        return _failed(group.exceptions, data)
    except (SoakError, SimError, OSError) as exc:
        return _failed((exc,), data)
    if found is None:
        say(f"ended before its time; the data are kept in {data}")
        return 130
    told = report(
        chosen.soak,
        began=began,
        settings=asdict(settings),
        counts=found.counts,
        violations=found.violations,
        commit=code,
    )
    for name, value in told["counts"].items():
        say(f"{name}: {value}")
    for violation in found.violations:
        say(f"VIOLATED {violation}")
    say(f"{len(found.violations)} violations")
    if chosen.report is not None:
        write(told, chosen.report)
    if found.violations:
        say(f"the data are kept in {data}")
        return 1
    if chosen.data is None:
        shutil.rmtree(data)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
