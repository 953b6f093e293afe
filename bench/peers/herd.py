"""Many processes at once, with whatever they start in their turn; none outlives the block.

SIGTERM to each of them, in parallel; what is left of their families after that is killed by its id.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import proc
from bench.errors import BenchError
from bench.processes import ROOT, Running


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """``env``: the whole environment; None for the bench's own."""

    name: str
    argv: tuple[str, ...]
    log: Path
    env: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A process for certain: a process id is given again, the moment of its start is not."""

    pid: int
    started: int


@contextlib.asynccontextmanager
async def herd(programs: Sequence[Program]) -> AsyncIterator[list[Running]]:
    """All of them as long as the block."""
    started: list[Running] = []
    try:
        for program in programs:
            started.append(await start(program))
        yield started
    finally:
        await asyncio.shield(end(started))


async def start(program: Program) -> Running:
    """In a session of its own: Ctrl-C reaches the bench alone, which ends the program in order."""
    with program.log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *program.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=ROOT,
            env=None if program.env is None else dict(program.env),
            start_new_session=True,
        )
    return Running(program.name, process, program.log)


async def end(programs: Sequence[Running]) -> None:
    members = [member for program in programs for member in family(program.pid)]
    await asyncio.gather(*(program.stop() for program in programs))
    for member in members:
        if is_there(member):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)


def family(pid: int) -> list[Member]:
    """The process and all below it."""
    members = []
    for each in (pid, *proc.descendants(pid, proc.parents())):
        with contextlib.suppress(BenchError):
            members.append(Member(pid=each, started=proc.started(each)))
    return members


def is_there(member: Member) -> bool:
    try:
        return proc.started(member.pid) == member.started
    except BenchError:
        return False


def memory_mib(pid: int) -> float:
    """PSS of a whole family: what its processes share with each other counts once."""
    total = 0.0
    for member in family(pid):
        with contextlib.suppress(BenchError):
            total += proc.memory(member.pid).pss
    return total
