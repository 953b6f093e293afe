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

STDIN, STDOUT, STDERR = 0, 1, 2
TERM_GRACE_S = 2.0
KILL_GRACE_S = 2.0
"""A process that hangs in the kernel outlives even SIGKILL; nobody waits for it longer."""


class Program(asyncio.SubprocessProtocol):
    """A running program; ``stdout`` and ``stderr`` are read with back pressure."""

    def __init__(self) -> None:
        self.stdout = asyncio.StreamReader()
        self.stderr = asyncio.StreamReader()
        self.exited = asyncio.Event()
        self.pid = 0
        self._transport: asyncio.SubprocessTransport

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid()
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

    async def _exited_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.exited.wait()

    def close(self) -> None:
        """Lets go of the pipes; whoever else holds them writes into the void."""
        self._transport.close()


async def start(
    argv: Sequence[str], *, cwd: str | None, env: Mapping[str, str], stdin: bytes | None
) -> Program:
    """Raises OSError or ValueError for what can't be started.

    A start is never cut short: asyncio would end the program alone and then wait for its children.
    """
    starting = asyncio.create_task(_start(argv, cwd=cwd, env=env, stdin=stdin))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError, ValueError):
            program = await starting
            await program.end_group()
            program.close()
        raise


async def _start(
    argv: Sequence[str], *, cwd: str | None, env: Mapping[str, str], stdin: bytes | None
) -> Program:
    _, program = await asyncio.get_running_loop().subprocess_exec(
        Program,
        *argv,
        cwd=cwd,
        env=env,
        stdin=asyncio.subprocess.PIPE if stdin is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    if stdin is not None:
        program.feed(stdin)
    return program
