"""``python -m soak world``, ``kills``, ``brokers``, ``config`` and ``jobs``.

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
from soak.jobs import JobsSettings, JobsSoak
from soak.kills import KillsSettings, KillsSoak
from soak.report import WORLD_ON_TRIAL, commit, report, write
from soak.violation import Findings
from soak.worlds import Tally, WorldsSettings, before, worlds

KILLS, BROKERS, CONFIG = KillsSettings(), BrokersSettings(), ConfigSettings()
JOBS = JobsSettings()
Settings = KillsSettings | BrokersSettings | ConfigSettings | JobsSettings


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__.splitlines()[0])
    soaks = parser.add_subparsers(dest="soak", required=True)
    world = soaks.add_parser("world", help="simulated worlds, on every core")
    world.add_argument("--seeds", type=_count, default=1000, help="how many")
    world.add_argument("--first", type=_count, default=0, metavar="SEED", help="the first seed")
    world.add_argument(
        "--from",
        dest="go_on",
        type=_count,
        metavar="SEED",
        help="go on from here, with the report that is in --report",
    )
    world.add_argument("--nodes", type=_count, help="in every world; default: a mix of sizes")
    world.add_argument("--hours", type=float, help="of every world; default: a mix of sizes")
    world.add_argument(
        "--tasks",
        action=argparse.BooleanOptionalAction,
        help="in every world or in none; default: as the seed has it",
    )
    world.add_argument("--processes", type=_count, help="default: one for each core")
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
    jobs = soaks.add_parser("jobs", help="SIGKILL of the center in the middle of jobs")
    jobs.add_argument("--kills", type=_count, default=JOBS.kills)
    jobs.add_argument("--nodes", type=_count, default=JOBS.nodes)
    jobs.add_argument("--limit-s", type=float, default=JOBS.limit_s)
    for soak in (kills, broker):
        soak.add_argument(
            "--may-lose",
            action="append",
            default=[],
            metavar="REASON",
            help="metrics may be declared lost for this reason (several times)",
        )
    for soak in (kills, broker, config, jobs):
        soak.add_argument("--seed", type=int, default=1)
        soak.add_argument(
            "--data", type=Path, help="keep the data there; default: a temporary folder"
        )
    for soak in (world, kills, broker, config, jobs):
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
    if chosen.soak == "jobs":
        return JobsSettings(
            kills=chosen.kills,
            nodes=max(1, chosen.nodes),
            seed=chosen.seed,
            limit_s=chosen.limit_s,
        )
    if chosen.soak == "kills":
        return KillsSettings(
            agent_kills=chosen.agent_kills,
            center_kills=chosen.center_kills,
            nodes=max(1, chosen.nodes),
            seed=chosen.seed,
            limit_s=chosen.limit_s,
            may_lose=tuple(chosen.may_lose or KILLS.may_lose),
        )
    return BrokersSettings(
        kinds=tuple(chosen.kind or KINDS),
        kills=chosen.kills,
        nodes=max(1, chosen.nodes),
        seed=chosen.seed,
        may_lose=tuple(chosen.may_lose),
    )


def work_of(settings: Settings, data: Path) -> Coroutine[Any, Any, Findings]:
    if isinstance(settings, ConfigSettings):
        return ConfigSoak(settings, data, say).run()
    if isinstance(settings, JobsSettings):
        return JobsSoak(settings, data, say).run()
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


def _world(chosen: argparse.Namespace) -> int:
    settings = WorldsSettings(
        first=chosen.first,
        seeds=chosen.seeds,
        nodes=chosen.nodes,
        hours=chosen.hours,
        tasks=chosen.tasks,
        processes=chosen.processes or WorldsSettings().processes,
    )
    code, began, tally = commit(WORLD_ON_TRIAL), datetime.now(UTC), Tally()
    if chosen.go_on is not None:
        try:
            began, tally = before(settings, chosen.go_on, code, chosen.report)
        except SoakError as exc:
            say(str(exc))
            return 2

    def kept(so_far: Tally) -> None:
        if chosen.report is not None:
            write(told_of(so_far), chosen.report)

    def told_of(so_far: Tally) -> dict[str, Any]:
        return report(
            settings.report,
            began=began,
            settings=settings.told(),
            counts=so_far.counts(),
            violations=so_far.violations,
            commit=code,
        )

    whole = worlds(settings, tally, say=say, kept=kept)
    for name, value in tally.counts().items():
        say(f"{name}: {value}")
    say(f"{len(tally.violations)} violations")
    if not whole:
        say(f"ended before its time; go on with --from {settings.first + tally.worlds}")
        return 130
    return 1 if tally.violations else 0


def main(argv: Sequence[str]) -> int:
    chosen = options(argv)
    if chosen.soak == "world":
        return _world(chosen)
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
