"""A program in a process group of its own: started, listened to, ended. No verb and no report here.

``exited`` is the end of the program itself, whoever else still holds its pipes.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

from farshore_edge.commands.verbs.child import Ear, Mouth, when_ended
from farshore_edge.commands.verbs.guard import VARIABLE, Guard, Record

TERM_GRACE_S = 2.0
KILL_GRACE_S = 2.0
"""A process that hangs in the kernel outlives even SIGKILL; nobody waits for it longer."""


class Program:
    """A running program; ``stdout`` and ``stderr`` are read with back pressure. It is on record at its
    guard until it is closed."""

    def __init__(
        self, process: subprocess.Popen[bytes], guard: Guard, record: Record, stdin: bytes | None
    ) -> None:
        self._process = process
        self._guard = guard
        self._record = record
        self.pid = process.pid
        self.stdout = asyncio.StreamReader()
        self.stderr = asyncio.StreamReader()
        self.exited = asyncio.Event()
        pipes = ((process.stdout, self.stdout), (process.stderr, self.stderr))
        self._ears = [Ear(pipe, into) for pipe, into in pipes if pipe is not None]
        self._mouth = None
        if process.stdin is not None:
            self._mouth = Mouth(process.stdin, stdin or b"")
        when_ended(process, self.exited.set)

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        return self._process.returncode if self.exited.is_set() else None

    def signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def end_group(self) -> None:
        """SIGTERM to the group, SIGKILL to what is left of it after ``TERM_GRACE_S``."""
        self.signal_group(signal.SIGTERM)
        try:
            await self.exited_within(TERM_GRACE_S)
        finally:
            self.signal_group(signal.SIGKILL)
        await self.exited_within(KILL_GRACE_S)

    async def end_all(self) -> None:
        """The group, and then whoever has left it."""
        await self.end_group()
        await self._guard.end_rest(self._record)

    async def exited_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.exited.wait()
        return self.exited.is_set()

    def close(self) -> None:
        """Lets go of the pipes; whoever else holds them writes into the void. What nobody has ended
        by then is killed."""
        if not self.exited.is_set():
            self._process.kill()
        for ear in self._ears:
            ear.close()
        if self._mouth is not None:
            self._mouth.close()
        self._guard.ended(self._record)


async def start(
    argv: Sequence[str],
    *,
    cwd: str | None,
    env: Mapping[str, str],
    stdin: bytes | None,
    guard: Guard | None = None,
    command: str = "",
    must_record: bool = True,
) -> Program:
    """Raises OSError or ValueError for what can't be started. ``command``: for whom it is on record;
    ``must_record``: whether it is not started where the record can't be written.

    ``stdin``: on its standard input, and then the end; it need not read it. A start is never cut short:
    nothing is awaited here.
    """
    guard = guard or Guard()
    record = guard.begin(command, must=must_record)
    try:
        process = _spawn(argv, cwd, {**env, VARIABLE: record.mark}, stdin is not None)
    except BaseException:
        guard.ended(record)
        raise
    guard.started(record, process.pid)
    return Program(process, guard, record, stdin)


def _spawn(
    argv: Sequence[str], cwd: str | None, env: Mapping[str, str], stdin: bool
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 # what the caller is there for
        argv,
        bufsize=0,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
