"""A program in a process group of its own: started, listened to, ended. No verb and no report here.

asyncio's own ``Process.wait`` waits for the pipes as well, and so for whatever a program left
behind; ``exited`` here is the end of the program itself.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import cast

from farshore_edge.commands.verbs.guard import VARIABLE, Guard, Record

STDIN, STDOUT, STDERR = 0, 1, 2
TERM_GRACE_S = 2.0
KILL_GRACE_S = 2.0
"""A process that hangs in the kernel outlives even SIGKILL; nobody waits for it longer."""


class Program(asyncio.SubprocessProtocol):
    """A running program; ``stdout`` and ``stderr`` are read with back pressure. It is on record at its
    guard until it is closed."""

    def __init__(self, guard: Guard, record: Record) -> None:
        self._guard = guard
        self._record = record
        self.stdout = asyncio.StreamReader()
        self.stderr = asyncio.StreamReader()
        self.exited = asyncio.Event()
        self.pid = 0
        self._transport: asyncio.SubprocessTransport

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid()
        self._guard.started(self._record, self.pid)
        for fd, reader in ((STDOUT, self.stdout), (STDERR, self.stderr)):
            pipe = self._transport.get_pipe_transport(fd)
            if pipe is not None:
                reader.set_transport(pipe)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.stdout if fd == STDOUT else self.stderr).feed_data(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio's interface
        if fd != STDIN:
            (self.stdout if fd == STDOUT else self.stderr).feed_eof()

    def process_exited(self) -> None:
        self.exited.set()

    # Called by the verb

    @property
    def returncode(self) -> int | None:
        """The exit code, or minus the signal; None while it runs."""
        return self._transport.get_returncode()

    def feed(self, data: bytes) -> None:
        """``data`` on its standard input, and then the end; it need not read it."""
        pipe = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(STDIN))
        pipe.write(data)
        pipe.write_eof()

    def signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def end_group(self) -> None:
        """SIGTERM to the group, SIGKILL to what is left of it after ``TERM_GRACE_S``."""
        self.signal_group(signal.SIGTERM)
        try:
            await self._exited_within(TERM_GRACE_S)
        finally:
            self.signal_group(signal.SIGKILL)
        await self._exited_within(KILL_GRACE_S)

    async def end_all(self) -> None:
        """The group, and then whoever has left it."""
        await self.end_group()
        await self._guard.end_rest(self._record)

    async def _exited_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.exited.wait()

    def close(self) -> None:
        """Lets go of the pipes; whoever else holds them writes into the void."""
        self._transport.close()
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

    A start is never cut short: asyncio would end the program alone and then wait for its children.
    """
    guard = guard or Guard()
    record = guard.begin(command, must=must_record)
    starting = asyncio.create_task(
        _start(argv, cwd=cwd, env=env, stdin=stdin, guard=guard, record=record)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError, ValueError):
            program = await starting
            await program.end_all()
            program.close()
        raise


async def _start(
    argv: Sequence[str],
    *,
    cwd: str | None,
    env: Mapping[str, str],
    stdin: bytes | None,
    guard: Guard,
    record: Record,
) -> Program:
    try:
        _, program = await asyncio.get_running_loop().subprocess_exec(
            lambda: Program(guard, record),
            *argv,
            cwd=cwd,
            env={**env, VARIABLE: record.mark},
            stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except BaseException:
        guard.ended(record)
        raise
    if stdin is not None:
        program.feed(stdin)
    return program
