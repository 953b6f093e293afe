"""A process dies by SIGKILL exactly at the n-th call of a kind: before it is made, or after it.

``killed_argv`` counts from a program's first call on, ``armed`` from a moment of a running one. Before:
strace kills at the entry of the call, which is then not made. After: the call is made, and its caller
never hears of it: strace holds the caller back until it is killed; the process's other threads go on
for those few milliseconds.
"""

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from farshore_sim.faults.errors import FaultError
from farshore_sim.faults.strace import attached, strace

_HELD_US = 60_000_000
_LOOK_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class KillPoint:
    """The ``nth`` call of this kind, counted from 1 in each thread (as strace counts)."""

    call: str = "fdatasync"
    nth: int = 1
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.call} {self.nth}"

    def options(self, paths: Iterable[Path], log: Path) -> list[str]:
        deed = f"delay_exit={_HELD_US}" if self.after else "signal=KILL"
        options = ["-f", "-e", "signal=none", "-e", f"trace={self.call}", "-o", str(log)]
        for path in paths:
            options += ["-P", str(path)]
        return [*options, "-s", "0", "-e", f"inject={self.call}:{deed}:when={self.nth}"]


def points(call: str, count: int, *, every: int = 1) -> Iterator[KillPoint]:
    """Both sides of the calls 1, 1 + ``every`` … up to ``count``; a soak asks for more of them."""
    for nth in range(1, count + 1, every):
        yield KillPoint(call=call, nth=nth)
        yield KillPoint(call=call, nth=nth, after=True)


class Death:
    """A kill that is prepared for one process."""

    def __init__(self, point: KillPoint, log: Path) -> None:
        self._point = point
        self._log = log

    async def came(self, pid: int, within_s: float) -> None:
        """Returns when this child of ours has died at the point; its caller reaps it.

        Raises FaultError when it ended otherwise, or the point was not reached in time; then it is
        still running.
        """
        try:
            async with asyncio.timeout(within_s):
                while (ended := _ended(pid)) is None:
                    if self._point.after and self._held():
                        _kill_held(pid)
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError as exc:
            raise FaultError(f"process {pid} did not come to {self._point}") from exc
        if ended.si_status != signal.SIGKILL or not self._reached():
            raise FaultError(f"process {pid} ended before it came to {self._point}")

    def _lines(self) -> list[str]:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return text.splitlines()

    def _held(self) -> bool:
        return any("(DELAYED)" in line for line in self._lines())

    def _reached(self) -> bool:
        if self._point.after:
            return self._held()
        unmade = re.compile(rf"{self._point.call}.*(= \?|<unfinished \.\.\.>)")
        return any(unmade.search(line) for line in self._lines())


def killed_argv(
    argv: Sequence[str], point: KillPoint, *, log: Path, paths: Iterable[Path] = ()
) -> tuple[list[str], Death]:
    """``argv``, to be started so that it dies at the point; its process id is the program's own.

    ``paths``: only calls on these files count, and they need not exist yet.
    """
    return [strace(), "-D", "-qq", *point.options(paths, log), "--", *argv], Death(point, log)


@contextlib.asynccontextmanager
async def armed(pid: int, point: KillPoint, *, paths: Iterable[Path] = ()) -> AsyncIterator[Death]:
    """A running process dies at the point, counted from now; past the block it is not traced."""
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch, "trace")
        async with attached(pid, point.options(paths, log)):
            yield Death(point, log)


def _kill_held(pid: int) -> None:
    """The process first: without its tracer it would go on. Then the tracer, or it is not reaped."""
    tracer = _tracer(pid)
    os.kill(pid, signal.SIGKILL)
    if tracer:
        with contextlib.suppress(ProcessLookupError):
            os.kill(tracer, signal.SIGKILL)


def _tracer(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("TracerPid:"):
                return int(line.split()[1])
    return 0


def _ended(pid: int) -> os.waitid_result | None:
    """Looks without reaping: until it is reaped its id is its own, and safe to kill."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
