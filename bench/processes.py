"""The programs under measurement: started as a user would, ended by their id, whatever happens."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from farshore_sim.demo.processes import program

from bench.errors import BenchError

STOP_S = 30.0
ROOT = Path(__file__).parent.parent


class Running:
    """One running program, its log in a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raises BenchError with the end of its log when the program has ended."""
        if self._process.returncode is not None:
            raise BenchError(
                f"{self.name} ended with exit code {self._process.returncode}:\n{self.log_end()}"
            )

    def log_end(self) -> str:
        return "\n".join(self._log.read_text("utf-8", "replace").splitlines()[-10:])

    async def finished(self, within_s: float) -> None:
        """Waits for its end by itself, with exit code 0."""
        try:
            async with asyncio.timeout(within_s):
                code = await self._process.wait()
        except TimeoutError as exc:
            raise BenchError(f"{self.name} did not end within {within_s:g} s") from exc
        if code != 0:
            raise BenchError(f"{self.name} ended with exit code {code}:\n{self.log_end()}")

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL when it takes too long."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@contextlib.asynccontextmanager
async def running(name: str, *argv: str, log: Path) -> AsyncIterator[Running]:
    """A program as long as the block; standard output and error go to ``log``."""
    with log.open("wb") as file:
        # A process group of its own: Ctrl-C in the terminal reaches only the bench, which then stops
        # everything in order.
        process = await asyncio.create_subprocess_exec(
            *argv, stdout=file, stderr=file, cwd=ROOT, start_new_session=True
        )
    started = Running(name, process, log)
    try:
        yield started
    finally:
        await asyncio.shield(started.stop())


def farshore(name: str, *args: str) -> tuple[str, ...]:
    """The command of one of Farshore's programs."""
    return program(name), *args


def module(name: str, *args: str) -> tuple[str, ...]:
    """The command of a module of this package."""
    return sys.executable, "-m", f"bench.{name}", *args


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
