"""The demonstration's processes: the real programs, started as a user would, ended by their id."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from farshore_sim.errors import DemoError

STOP_S = 15.0
LOG_LINES = 10


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
                program(name),
                *args,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        return cls(name, process, log)

    def check(self) -> None:
        """Raises DemoError with the end of its log when the program has ended."""
        code = self._process.returncode
        if code is not None:
            how = f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
            lines = self.log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
            raise DemoError("\n  ".join([f"{self.name} ended {how}; the end of its log:", *lines]))

    async def ended(self) -> None:
        await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, as if the power had gone."""
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> int | None:
        """SIGTERM, and SIGKILL when it takes too long; the exit code."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                await self._process.wait()
        return self._process.returncode


async def one_ended(programs: Sequence[Program], within_s: float | None = None) -> None:
    """Raises DemoError as soon as one of the programs has ended; returns after ``within_s``."""
    waits = [asyncio.create_task(program.ended()) for program in programs]
    try:
        if waits:
            await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    for each in programs:
        each.check()
