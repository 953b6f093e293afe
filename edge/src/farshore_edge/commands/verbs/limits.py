"""What a program may use of the machine: set upon it by the kernel, and looked after for all its
processes together. Which limit ended a program is told.

The kernel's limits (setrlimit) are of each process. They are set from outside just after the start:
code of ours between fork and exec could hang an agent that has threads. The sums are looked at
every ``LOOK_S``. Why no control groups: docs/decisions/0015.
"""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass

from farshore_protocol.commands.catalogue import ExecArgs

from farshore_edge.commands.verbs.table import family, own_memory_bytes, processes
from farshore_edge.settings import Settings

OOM_SCORE_ADJ = 500
"""Where memory runs out the kernel ends a command's program before the agent."""
CPU_GRACE_S = 5
"""A program that ignores SIGXCPU is killed so much later."""
EARLY_S, LOOK_S = 0.1, 1.0
"""Between two looks at the sums: at first, and then growing up to."""
SETTLE_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """0: none. ``cpu_s``, ``memory_bytes``, ``processes``: of the program with all that it starts;
    ``memory_bytes`` of each process as well. ``nice``: 0 to 19."""

    cpu_s: int = 0
    memory_bytes: int = 0
    processes: int = 0
    open_files: int = 0
    file_bytes: int = 0
    nice: int = 0

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        return cls(**{name: getattr(settings, f"exec_{name}") for name in cls.__slots__})


LOWERED = ("cpu_s", "memory_bytes", "processes", "open_files", "file_bytes")


def lowered(limits: Limits, args: ExecArgs) -> Limits | str:
    """The limits of one command, or why it may not have them: they can only be lower."""
    wanted = {name: getattr(limits, name) for name in Limits.__slots__}
    for name in LOWERED:
        asked = getattr(args, name)
        if asked is None:
            continue
        if wanted[name] and asked > wanted[name]:
            return f"{name}: {asked}, expected {wanted[name]} or less (setting exec_{name})"
        wanted[name] = asked
    return Limits(**wanted)


def impose(pid: int, limits: Limits) -> None:
    """Upon one process; what of it can't be set does not keep the rest from being set."""
    with contextlib.suppress(OSError, ValueError):
        _stand_back(pid, limits)
    with contextlib.suppress(OSError, ValueError):
        _set(pid, limits)


def impose_on_family(pid: int, limits: Limits) -> None:
    """Upon what a program has started before it had its limits; from then on they are inherited."""
    done = {pid}
    for _ in range(SETTLE_ROUNDS):
        new = family(processes(), pid) - done
        if not new:
            return
        for each in new:
            impose(each, limits)
        done |= new


def _stand_back(pid: int, limits: Limits) -> None:
    file = os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)
    try:
        os.write(file, b"%d" % OOM_SCORE_ADJ)
    finally:
        os.close(file)
    if limits.nice:
        os.setpriority(os.PRIO_PROCESS, pid, limits.nice)


def _set(pid: int, limits: Limits) -> None:
    if limits.cpu_s:
        _limit(pid, resource.RLIMIT_CPU, limits.cpu_s, limits.cpu_s + CPU_GRACE_S)
    for what, most in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
    ):
        if most:
            _limit(pid, what, most, most)


def _limit(pid: int, what: int, soft: int, hard: int) -> None:
    """Never more than it has: the agent itself may have been started with less."""
    _, most = resource.prlimit(pid, what)
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.prlimit(pid, what, (soft, hard))


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Of a program with all its processes at one moment."""

    cpu_s: float = 0.0
    memory_bytes: int = 0
    processes: int = 0


def over(limits: Limits, use: Use) -> str | None:
    """Which limit was passed, for people."""
    if limits.processes and use.processes > limits.processes:
        return f"processes: {use.processes} at once, allowed are {limits.processes}"
    if limits.memory_bytes and use.memory_bytes > limits.memory_bytes:
        return f"memory_bytes: {use.memory_bytes} in use, allowed are {limits.memory_bytes}"
    if limits.cpu_s and use.cpu_s > limits.cpu_s:
        return f"cpu_s: {use.cpu_s:.1f} s of processor time, allowed are {limits.cpu_s}"
    return None


def by_signal(limits: Limits, returncode: int | None) -> str | None:
    """Which limit ended it, by the signal that the kernel sends then; a shell reports 128 and it."""
    if returncode in (-signal.SIGXCPU, 128 + signal.SIGXCPU) and limits.cpu_s:
        return f"cpu_s: more than {limits.cpu_s} s of processor time"
    if returncode in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ) and limits.file_bytes:
        return f"file_bytes: a file of more than {limits.file_bytes} bytes"
    return None


def measure(pid: int) -> Use:
    table = processes()
    members = family(table, pid)
    return Use(
        cpu_s=sum(table[each].cpu_s for each in members if each in table),
        memory_bytes=own_memory_bytes(members),
        processes=len(members),
    )


async def exceeded(pid: int, limits: Limits, peak: list[Use]) -> str:
    """Returns when a limit is passed: which. ``peak`` gets the last looks at what was used. To be
    called ``EARLY_S`` after the program's start."""
    await asyncio.to_thread(impose_on_family, pid, limits)
    pause_s = 0.0
    while True:
        await asyncio.sleep(pause_s)
        use = await asyncio.to_thread(measure, pid)
        peak[:] = [most((*peak, use))]
        which = over(limits, use)
        if which is not None:
            return which
        pause_s = min(max(pause_s * 1.5, EARLY_S), LOOK_S)


def most(uses: Iterable[Use]) -> Use:
    """The highest of each."""
    found = list(uses)
    return Use(
        cpu_s=max(use.cpu_s for use in found),
        memory_bytes=max(use.memory_bytes for use in found),
        processes=max(use.processes for use in found),
    )
