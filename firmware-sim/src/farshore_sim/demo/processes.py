"""The demonstration's processes: the real programs, started as a user would, ended by their id."""

import asyncio
import contextlib
import shutil
import signal
import socket
import sys
from pathlib import Path

from farshore_sim.errors import DemoError

STOP_S = 15.0


def free_port(wanted: int) -> int:
    """The wanted port of loopback if nobody has it, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise DemoError("no free port on 127.0.0.1")


def program(name: str) -> str:
    """The program beside this interpreter, or the one on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise DemoError(f"{name} is not installed; the demonstration needs it: make setup")
    return found


class Program:
    """One running program, its log in a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self.log = log

    @classmethod
    async def start(cls, name: str, *args: str, log: Path) -> "Program":
        # A group of its own: Ctrl-C in the terminal reaches only the demonstration, which then
        # stops everything in order.
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                program(name), *args, stdout=file, stderr=file, start_new_session=True
            )
        return cls(name, process, log)

    def check(self) -> None:
        """Raises DemoError with the end of its log when the program has ended."""
        if self._process.returncode is not None:
            lines = self.log.read_text("utf-8", "replace").splitlines()[-10:]
            raise DemoError(
                f"{self.name} ended with exit code {self._process.returncode}:\n  "
                + "\n  ".join(lines)
            )

    async def stop(self) -> int | None:
        """SIGTERM, and SIGKILL when it takes too long; the exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        return self._process.returncode
