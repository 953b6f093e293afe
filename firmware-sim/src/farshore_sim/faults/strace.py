"""strace: where it is, and its attachment to a process that runs already.

What it does there is decided by the options of its callers.
"""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator, Sequence

from farshore_sim.faults.errors import FaultError

ATTACH_S = 10.0


def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        raise FaultError("strace is not installed; disk faults need it: make system")
    return found


@contextlib.asynccontextmanager
async def attached(pid: int, options: Sequence[str]) -> AsyncIterator[None]:
    """Inside of the block the process is traced with these options; then it is let go and lives on.

    Raises FaultError when it can't be attached within ``ATTACH_S``.
    """
    tracer = await asyncio.create_subprocess_exec(
        strace(),
        *options,
        "-p",
        str(pid),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await _said_so(tracer, pid)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            tracer.send_signal(signal.SIGINT)  # it lets go of the process, which goes on
        await tracer.communicate()


async def _said_so(tracer: asyncio.subprocess.Process, pid: int) -> None:
    said = b""
    try:
        async with asyncio.timeout(ATTACH_S):
            while tracer.stderr is not None and (line := await tracer.stderr.readline()):
                said = line.strip()
                if b"Process %d attached" % pid in said:
                    return
    except TimeoutError:
        pass  # as when it ended
    raise FaultError(f"strace can't attach to process {pid}: {said.decode(errors='replace')}")
