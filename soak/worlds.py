"""Simulated worlds by the thousand, on every core: ``python -m soak world --seeds 10000``.

A world's size follows from its seed (``mix.py``). Seeds are counted in their order, so that a soak
that was ended can go on where it was: what it reports is always a whole range. A failing seed is
named with the command that replays and shrinks it.
"""

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from farshore_sim.world.faults import KINDS, draw
from farshore_sim.world.world import run_plan

from soak import report
from soak.errors import SoakError
from soak.mix import MIX, Size, size_of
from soak.violation import Violation

TELL_EVERY_S = 10.0
SEEDS_PER_PROCESS = 200
"""What asyncio and SQLAlchemy keep of a world is given back with the process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldsSettings:
    """``nodes``, ``hours``, ``tasks``: of every world, in place of what the seed says."""

    first: int = 0
    seeds: int = 1000
    nodes: int | None = None
    hours: float | None = None
    tasks: bool | None = None
    processes: int = field(default_factory=lambda: os.cpu_count() or 1)

    @property
    def report(self) -> str:
        """Its name: a report of worlds that all have tasks stands beside that of the mix."""
        return "world-tasks" if self.tasks else "world"

    def size(self, seed: int) -> Size:
        drawn = size_of(seed)
        return Size(nodes=self.nodes or drawn.nodes, hours=self.hours or drawn.hours)

    def told(self) -> dict[str, Any]:
        sizes = {str(size): weight for size, weight in MIX}
        fixed = {"nodes": self.nodes, "hours": self.hours, "tasks": self.tasks}
        return {
            "first": self.first,
            "seeds": self.seeds,
            "processes": self.processes,
            "sizes_of_100": sizes,
            **{name: value for name, value in fixed.items() if value is not None},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What one world comes to."""

    seed: int
    size: Size
    broker: str
    tasks: bool
    faults: Mapping[str, int]
    virtual_s: float
    counts: Mapping[str, int]
    violations: tuple[Violation, ...]


def live(task: tuple[int, Size, bool | None]) -> Lived:
    seed, size, tasks = task
    plan = draw(seed, nodes=size.nodes, hours=size.hours, tasks=tasks)
    where = f"farshore-sim world --seed {seed} --nodes {size.nodes} --hours {size.hours:g}"
    if tasks is not None:
        where += " --tasks" if tasks else " --no-tasks"
    virtual_s, counts = 0.0, dict[str, int]()
    try:
        outcome = run_plan(plan)
    except Exception as exc:
        broken = [Violation(promise="I6", where=where, detail=f"the world broke: {exc!r}")]
    else:
        virtual_s, counts = outcome.virtual_s, asdict(outcome.counts)
        broken = [
            Violation(
                promise=each.invariant, where=where, detail=f"at {each.at_s:.3f} s: {each.text}"
            )
            for each in outcome.violations
        ]
    return Lived(
        seed=seed,
        size=size,
        broker=plan.broker,
        tasks=plan.sites > 0,
        faults=Counter(fault.kind for fault in plan.faults),
        virtual_s=virtual_s,
        counts=counts,
        violations=tuple(broken),
    )


@dataclass(slots=True, kw_only=True)
class Tally:
    """Sums over worlds; ``counts`` and ``Tally.of`` are each other's inverse."""

    worlds: int = 0
    failed: int = 0
    with_tasks: int = 0
    took_s: float = 0.0
    virtual_s: float = 0.0
    sizes: Counter[str] = field(default_factory=Counter)
    brokers: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    worlds_with: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def add(self, lived: Lived) -> None:
        self.worlds += 1
        self.failed += bool(lived.violations)
        self.with_tasks += lived.tasks
        self.virtual_s += round(lived.virtual_s, 3)  # as it is told, so that parts add up
        self.sizes[str(lived.size)] += 1
        self.brokers[lived.broker] += 1
        self.faults.update(lived.faults)
        self.worlds_with.update(lived.faults.keys())
        self.sums.update(lived.counts)
        self.violations += map(str, lived.violations)

    def counts(self) -> dict[str, Any]:
        return {
            "worlds": self.worlds,
            "worlds_failed": self.failed,
            "worlds_with_tasks": self.with_tasks,
            "took_s": round(self.took_s, 1),
            "worlds_a_second": round(self.worlds / self.took_s, 2) if self.took_s else 0.0,
            "virtual_s": round(self.virtual_s, 3),
            "worlds_by_size": dict(sorted(self.sizes.items())),
            "worlds_by_broker": dict(sorted(self.brokers.items())),
            "faults": {kind: self.faults[kind] for kind in KINDS},
            "worlds_with_this_fault": {kind: self.worlds_with[kind] for kind in KINDS},
            **{f"all_{name}": number for name, number in self.sums.items()},
        }

    @classmethod
    def of(cls, counts: Mapping[str, Any], violations: list[str]) -> "Tally":
        sums = {name[4:]: number for name, number in counts.items() if name.startswith("all_")}
        return cls(
            worlds=counts["worlds"],
            failed=counts["worlds_failed"],
            with_tasks=counts.get("worlds_with_tasks", 0),
            took_s=counts["took_s"],
            virtual_s=counts["virtual_s"],
            sizes=Counter(counts["worlds_by_size"]),
            brokers=Counter(counts["worlds_by_broker"]),
            faults=Counter(counts["faults"]),
            worlds_with=Counter(counts["worlds_with_this_fault"]),
            sums=Counter(sums),
            violations=list(violations),
        )


def worlds(
    settings: WorldsSettings,
    tally: Tally,
    *,
    say: Callable[[str], None],
    kept: Callable[[Tally], None],
) -> bool:
    """Adds to ``tally`` what comes after it; False when it was ended by a signal before its time.

    ``kept`` is called all along, with what has been done so far.
    """
    start = settings.first + tally.worlds
    todo = range(start, settings.first + settings.seeds)
    tasks = [(seed, settings.size(seed), settings.tasks) for seed in todo]
    began_s = told_s = time.monotonic()
    before_s = tally.took_s
    with (
        _ended_by_signal() as ended,
        multiprocessing.Pool(
            settings.processes, initializer=_deaf, maxtasksperchild=SEEDS_PER_PROCESS
        ) as pool,
    ):
        results = pool.imap(live, tasks)
        for done, _task in enumerate(tasks, start=1):
            lived = _next(results, ended)
            if lived is None:
                break
            tally.add(lived)
            now_s = time.monotonic()
            tally.took_s = before_s + now_s - began_s
            if done == 1:
                say(f"the first world of {len(tasks):,}: {lived.size}, seed {lived.seed}")
            for violation in lived.violations[:1]:
                say(f"VIOLATED {violation}")
            if now_s - told_s >= TELL_EVERY_S:
                told_s = now_s
                rate = done / (now_s - began_s)
                say(
                    f"{done:,} of {len(tasks):,} worlds, {rate:.2f} a second, about "
                    f"{(len(tasks) - done) / rate / 60:.0f} min left; {tally.failed} failed"
                )
                kept(tally)
    kept(tally)
    return tally.worlds >= settings.seeds


def before(
    settings: WorldsSettings, go_on: int, code: str, folder: Path | None
) -> tuple[datetime, Tally]:
    """When the soak that is to go on at this seed began, and what it has done.

    Raises SoakError where its report is not there, or is of another code, range or size.
    """
    if folder is None:
        raise SoakError("--from goes on with the report of an earlier part: name it by --report")
    try:
        told = report.read(settings.report, folder)
        tally = Tally.of(told["counts"], told["violations"])
        began, code_then, was = told["date"], told["commit"], told["settings"]
    except (OSError, ValueError, KeyError) as exc:
        raise SoakError(f"no report to go on with in {folder}: {exc}") from exc
    if code_then != code:
        raise SoakError(f"the report is of commit {code_then}, and this is {code}: begin anew")
    now, own = dict(settings.told()), ("seeds", "processes")
    if [(k, v) for k, v in was.items() if k not in own] != [
        (k, v) for k, v in now.items() if k not in own
    ]:
        raise SoakError(f"the report is of other worlds: {was}")
    if settings.first + tally.worlds != go_on:
        raise SoakError(f"the report ends before seed {settings.first + tally.worlds}: go on there")
    return datetime.fromisoformat(began), tally


def _next(results: Any, ended: list[int]) -> Lived | None:
    """The next in the order of seeds; None when the soak is ended meanwhile."""
    while not ended:
        try:
            lived: Lived = results.next(timeout=0.5)
        except multiprocessing.TimeoutError:
            continue
        return lived
    return None


def _deaf() -> None:
    """Ctrl-C reaches the whole group; only the soak itself is to hear it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _ended_by_signal() -> Iterator[list[int]]:
    ended: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda got, _frame: ended.append(got)) for number in numbers]
    try:
        yield ended
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
