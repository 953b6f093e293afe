"""The programs under trial: started as a user would, killed and started again; ended by their id."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from farshore_sim.demo.processes import program
from farshore_sim.ports import LOOPBACK, hold, number

from soak.errors import SoakError

LOG_LINES = 30


class Ports:
    """Ports that stay ours while the program that listens there is dead."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()

    def take(self) -> int:
        return number(self._held.enter_context(hold(0)))

    def close(self) -> None:
        self._held.close()


class Program:
    """One process at a time; everything that its lives have written is in ``log``."""

    def __init__(self, name: str, argv: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.started_s = 0.0
        self._argv = list(argv)
        self._process: subprocess.Popen[bytes] | None = None
        self._said_before = 0

    @property
    def running(self) -> bool:
        """Looks without reaping: until it is reaped its id is its own, and safe to kill."""
        if self._process is None:
            return False
        look = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, look) is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise SoakError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._said_before = out.tell()
            # A group of its own: Ctrl-C in the terminal reaches only the soak, which then ends all.
            self._process = subprocess.Popen(  # noqa: S603 # our own programs
                self._argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self.started_s = time.monotonic()

    def kill(self) -> None:
        """SIGKILL, at once, and reaped; nothing if it is not running."""
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGKILL)
            self.reap()

    def reap(self) -> int:
        """Waits for its end; the exit code."""
        if self._process is None:
            raise SoakError(f"{self.name} is not running")
        code = self._process.wait()
        self._process = None
        return code

    async def stop(self, within_s: float) -> int:
        """SIGTERM; its exit code. SoakError, and SIGKILL, when it takes longer."""
        if self._process is None:
            raise SoakError(f"{self.name} is not running")
        self._process.terminate()
        try:
            async with asyncio.timeout(within_s):
                while self.running:  # noqa: ASYNC110 # nobody tells us when a process ends
                    await asyncio.sleep(0.02)
        except TimeoutError:
            self.kill()
            raise SoakError(
                f"{self.name} did not stop within {within_s:g} s:\n{self.end_of_log()}"
            ) from None
        return self.reap()

    def said(self, word: bytes) -> bool:
        """Whether the present life has written ``word``."""
        with self.log.open("rb") as text:
            text.seek(self._said_before)
            return word in text.read()

    def end_of_log(self) -> str:
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:])


def center_program(folder: Path, *, http: int, mqtt: str) -> Program:
    return Program(
        "center",
        (
            *(program("farshore-center"), "run", "--dev", "--data", str(folder / "center")),
            *("--http", f"{LOOPBACK}:{http}", "--mqtt", mqtt),
        ),
        folder / "center.log",
    )


def agent_program(folder: Path, name: str, port: int, *, sample_s: float) -> Program:
    """An agent in a hurry: what takes seconds or minutes by default takes tenths of a second."""
    return Program(
        name,
        (
            *(program("farshore-agent"), "run", "--dev", "--node", name),
            *("--center", f"mqtt://{LOOPBACK}:{port}", "--data", str(folder / name)),
            *("--sample-interval-s", f"{sample_s:g}", "--batch-s", f"{2 * sample_s:g}"),
            *("--heartbeat-s", "1", "--keepalive-s", "10", "--stop-grace-s", "60"),
            *("--backoff-first-s", "0.1", "--backoff-max-s", "0.5"),
        ),
        folder / f"{name}.log",
    )
