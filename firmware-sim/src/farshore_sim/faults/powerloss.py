"""Power losses, replayed: every answered commit must be there, whatever the disk was doing.

``python -m farshore_sim.faults.powerloss --states 5000 --seed 7`` records a seeded workload on the
agent's database and lets the power fail at chosen points of the record: before and behind every sync
at least once, then at random. Each state is opened by the real code and judged by the subject.
``--pragma synchronous=NORMAL`` weakens the database on purpose: then it must find violations.
"""

import argparse
import asyncio
import importlib
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from farshore_sim.errors import SimError
from farshore_sim.faults.crash_model import PAGE_BYTES, SECTOR_BYTES, Disk, Survival
from farshore_sim.faults.events import (
    Event,
    Mark,
    Sync,
    SyncFailed,
    SyncFolder,
)
from farshore_sim.faults.recording import Recording, record

AGENT = "farshore_sim.faults.agent_workload:AgentWorkload"
_RANDOM = (Survival.EVERYTHING, Survival.SUBSET, Survival.SUBSET, Survival.TORN, Survival.CUT)
_RUBBISH_BYTES = 32_768
_MEMORY = Path("/dev/shm")  # noqa: S108 - folders of random names are made in it


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much a workload does; ``pragmas`` (``name=value``) stand over those of the program.

    ``callers`` commit at once. One alone keeps its order when commits fail and are tried again.
    """

    seed: int
    changes: int
    pragmas: Sequence[str] = ()
    callers: int = 4


class Subject(Protocol):
    """A program whose durability is on trial. ``rubbish``: files that need not survive at all."""

    files: Sequence[str]
    rubbish: Sequence[str]

    def argv(self, folder: Path, marks: Path) -> list[str]:
        """The program that does the workload in ``folder`` and appends what is answered to ``marks``."""
        ...

    async def check(self, folder: Path, said: Sequence[str]) -> str | None:
        """What is wrong with the files in ``folder``, given what the program had said by then."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLoss:
    """One state: the power fails before event ``point``; the rest says what is on the disk then."""

    point: int
    survival: Survival
    unit_bytes: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    loss: PowerLoss
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    seed: int
    events: int
    syncs: int
    failed_syncs: int
    marks: int
    points: int
    states: int
    seconds: float
    violations: Sequence[Violation]

    def text(self) -> str:
        lines = [
            f"power loss: {self.states} states at {self.points} points of {self.events} events "
            f"({self.syncs} syncs, {self.failed_syncs} failed, {self.marks} marks), "
            f"seed {self.seed}, {self.seconds:.1f} s: {len(self.violations)} violations"
        ]
        lines += [
            f"  before event {v.loss.point}, {v.loss.survival.value}, {v.loss.unit_bytes} bytes, "
            f"seed {v.loss.seed}: {v.detail}"
            for v in self.violations[:20]
        ]
        return "\n".join(lines)


def boundaries(events: Sequence[Event]) -> list[int]:
    """The points right before and right behind every sync, and the end."""
    points = {len(events)}
    for place, event in enumerate(events):
        if isinstance(event, Sync | SyncFailed | SyncFolder):
            points |= {place, place + 1}
    return sorted(points)


def plan(events: Sequence[Event], *, states: int, seed: int) -> list[PowerLoss]:
    """Every boundary with nothing but what was synced, then boundaries and other points at random.

    The boundaries are all there even when they are more than ``states``.
    """
    rng = random.Random(seed)  # noqa: S311 - replayable, not secret
    edges = boundaries(events)

    def loss(point: int, survival: Survival) -> PowerLoss:
        unit = rng.choice((SECTOR_BYTES, PAGE_BYTES))
        return PowerLoss(point=point, survival=survival, unit_bytes=unit, seed=rng.getrandbits(32))

    losses = [loss(point, Survival.NOTHING) for point in edges]
    while len(losses) < states:
        point = rng.choice(edges) if rng.random() < 0.5 else rng.randint(0, len(events))
        losses.append(loss(point, rng.choice(_RANDOM)))
    return sorted(losses, key=lambda each: each.point)


def replay(
    recording: Recording, losses: Sequence[PowerLoss]
) -> Iterator[tuple[PowerLoss, dict[str, bytes]]]:
    """Each loss, in order of its point, with the files that are on the disk after it."""
    disk, place = Disk(recording.initial), 0
    for loss in losses:
        for event in recording.events[place : loss.point]:
            disk.follow(event)
        place = loss.point
        rng = random.Random(loss.seed)  # noqa: S311 - replayable, not secret
        yield loss, disk.after_power_loss(rng, loss.survival, loss.unit_bytes)


async def judge(recording: Recording, subject: Subject, *, states: int, seed: int) -> Report:
    """Lets the power fail in ``states`` ways and collects what the subject finds wrong."""
    losses = plan(recording.events, states=states, seed=seed)
    started, violations = time.monotonic(), []
    with _scratch() as scratch:
        for number, (loss, files) in enumerate(replay(recording, losses)):
            folder = Path(scratch, str(number))
            _lay_out(folder, files, subject.rubbish, loss.seed)
            detail = await subject.check(folder, recording.marks(loss.point))
            if detail is not None:
                violations.append(Violation(loss=loss, detail=detail))
            shutil.rmtree(folder)
    events = recording.events
    return Report(
        seed=seed,
        events=len(events),
        syncs=sum(isinstance(event, Sync) for event in events),
        failed_syncs=sum(isinstance(event, SyncFailed) for event in events),
        marks=sum(isinstance(event, Mark) for event in events),
        points=len({loss.point for loss in losses}),
        states=len(losses),
        seconds=round(time.monotonic() - started, 3),
        violations=violations,
    )


def _lay_out(folder: Path, files: dict[str, bytes], rubbish: Sequence[str], seed: int) -> None:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    rng = random.Random(seed)  # noqa: S311 - replayable, not secret
    for name in rubbish:
        if rng.random() < 0.3:
            (folder / name).write_bytes(rng.randbytes(_RUBBISH_BYTES))


def run(subject: Subject, *, states: int, seed: int, inject: str | None = None) -> Report:
    """Records the subject's workload in a folder of its own, and judges it; ``inject``: see record."""
    with _scratch() as scratch:
        folder, marks = Path(scratch, "data"), Path(scratch, "marks")
        folder.mkdir()
        recording = record(
            subject.argv(folder, marks),
            folder=folder,
            names=subject.files,
            marks=marks,
            inject=inject,
        )
    return asyncio.run(judge(recording, subject, states=states, seed=seed))


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """In memory where there is such a place: the power fails in the model, no sync need reach a disk."""
    return tempfile.TemporaryDirectory(dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None)


def _subject(name: str, load: Load) -> Subject:
    module, _, attribute = name.partition(":")
    made: Subject = getattr(importlib.import_module(module), attribute)(load)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="farshore_sim.faults.powerloss", description=__doc__)
    parser.add_argument("--states", type=int, default=1_000, help="how many power losses")
    parser.add_argument("--seed", type=int, default=1, help="of the workload and of the losses")
    parser.add_argument("--changes", type=int, default=80, help="commits in the workload")
    parser.add_argument("--callers", type=int, default=4, help="that commit at once")
    parser.add_argument("--inject", metavar="CALL:error=NAME:when=N..M", help="calls that fail")
    parser.add_argument("--subject", default=AGENT, metavar="MODULE:CLASS")
    parser.add_argument("--pragma", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--json", action="store_true", help="the report as JSON")
    options = parser.parse_args(argv)
    load = Load(
        seed=options.seed,
        changes=options.changes,
        pragmas=options.pragma,
        callers=options.callers,
    )
    try:
        report = run(
            _subject(options.subject, load),
            states=options.states,
            seed=options.seed,
            inject=options.inject,
        )
    except SimError as exc:
        sys.stderr.write(f"powerloss: {exc}\n")
        return 2
    sys.stdout.write((json.dumps(asdict(report)) if options.json else report.text()) + "\n")
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
