"""Environments of Python (venv), made once for all instances that need the same, kept between runs, and
removed a while after the last of them is gone.

``<folder>/<digest>``: the environment; it counts from when ``ready`` lies in it. ``users/<work id>`` says
who needs it.
"""

import asyncio
import hashlib
import importlib.util
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from farshore_protocol.tasks.settings import PythonSettings

from farshore_edge.config.model import Ended
from farshore_edge.config.programs import HostPrograms
from farshore_edge.tasks.drivers.model import DriverError
from farshore_edge.tasks.drivers.python.settings import (
    Recipe,
    pip_arguments,
)

log = logging.getLogger(__name__)

STEP_S = 1700.0
"""For a step of the making; a supervisor's own deadline may be sooner."""
UNUSED_S = 86_400.0
READY, USERS = "ready", "users"
WORDS_CHARS = 800
READ_BYTES = 1024 * 1024


class Programs(Protocol):
    async def run(self, argv: Sequence[str], *, timeout_s: float) -> Ended: ...


class Environments:
    """``now_s``: the wall clock, in which files are dated."""

    def __init__(
        self,
        folder: Path,
        *,
        programs: Programs | None = None,
        python: str = sys.executable,
        now_s: Callable[[], float] = time.time,
        unused_s: float = UNUSED_S,
    ) -> None:
        self._folder = folder.absolute()
        self._programs = programs or HostPrograms(command="python environment")
        self._python = python
        self._now_s = now_s
        self._unused_s = unused_s
        self._making = asyncio.Lock()

    def missing(self) -> str | None:
        """What this machine lacks to make one."""
        if importlib.util.find_spec("venv") is None:
            return "this Python has no module venv (Debian: apt-get install python3-venv)"
        if not _has_pip() and importlib.util.find_spec("ensurepip") is None:
            return (
                "this Python has neither pip nor ensurepip (Debian: apt-get install python3-venv)"
            )
        return None

    async def ready(self, run: PythonSettings, files: Path, user: str) -> Path:
        """The Python of an environment with all that ``run`` needs. ``files``: the instance's folder,
        ``user``: its id. Raises DriverError."""
        wheel, wheels = _inside(files, run.wheel), _inside(files, run.wheels)
        recipe = await asyncio.to_thread(_recipe, self._python, run, wheel, wheels)
        home = self._folder / recipe.digest
        # One after the other: two at once would be slower on a small node, and may be the same.
        async with self._making:
            await asyncio.to_thread(self._remove_unused, user)
            if not (home / READY).exists():
                await self._make(home, run, wheel, wheels)
            (home / USERS).mkdir(exist_ok=True)
            (home / USERS / user).touch()
        return home / "bin/python"

    async def _make(
        self, home: Path, run: PythonSettings, wheel: Path | None, wheels: Path | None
    ) -> None:
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        # The agent's own pip serves all of them: none needs a copy.
        lean = ["--without-pip"] if _has_pip() else []
        system = ["--system-site-packages"] if run.system_packages else []
        await self._step([self._python, "-m", "venv", *lean, *system, str(home)], "no_environment")
        arguments = pip_arguments(
            run, wheel=str(wheel) if wheel else None, wheels=str(wheels) if wheels else None
        )
        if arguments is not None:
            own = str(home / "bin/python")
            pip = [self._python, "-m", "pip", "--python", own] if lean else [own, "-m", "pip"]
            await self._step([*pip, "install", *arguments], "bad_requirements")
        (home / READY).touch()

    async def _step(self, argv: list[str], code: str) -> None:
        try:
            ended = await self._programs.run(argv, timeout_s=STEP_S)
        except OSError as exc:
            raise DriverError(code, f"{argv[0]}: {exc.strerror or exc}") from exc
        if ended.code is None:
            raise DriverError(code, f"not done within {STEP_S:g} s: {' '.join(argv[:6])} …")
        if ended.code != 0:
            words = ended.output.strip()[-WORDS_CHARS:]
            # Without an index the same files give the same answer for ever.
            permanent = code == "bad_requirements" and "--no-index" in argv
            raise DriverError(code, f"{words or f'exit code {ended.code}'}", permanent=permanent)

    def release(self, user: str) -> None:
        """It is not needed by this one any more."""
        for mark in self._folder.glob(f"*/{USERS}/{user}"):
            mark.unlink(missing_ok=True)
            os.utime(mark.parent, (self._now_s(), self._now_s()))

    async def keep(self, users: frozenset[str]) -> None:
        """Releases all others', and removes what is unused for long enough."""
        await asyncio.to_thread(self._keep, users)

    def _keep(self, users: frozenset[str]) -> None:
        for mark in self._folder.glob(f"*/{USERS}/*"):
            if mark.name not in users:
                self.release(mark.name)
        self._remove_unused("")

    def _remove_unused(self, but: str) -> None:
        for home in self._folder.glob("*"):
            users = home / USERS
            try:
                if but in os.listdir(users) or os.listdir(users):
                    continue
                unused_s = self._now_s() - users.stat().st_mtime
            except OSError:
                continue  # it is being made, or was not finished: it is made anew when it is needed
            if unused_s >= self._unused_s:
                log.info("an environment of Python is removed", extra={"environment": home.name})
                shutil.rmtree(home, ignore_errors=True)


def _has_pip() -> bool:
    return importlib.util.find_spec("pip") is not None


def _inside(files: Path, path: str | None) -> Path | None:
    """Raises DriverError where it is not there, or leads out of the folder."""
    if path is None:
        return None
    found = (files / path).resolve()
    if not found.is_relative_to(files.resolve()) or not found.exists():
        message = f"{path}: it is not in the task's folder; expected the path of an artifact"
        raise DriverError("no_file", message, permanent=True)
    return found


def _recipe(python: str, run: PythonSettings, wheel: Path | None, wheels: Path | None) -> Recipe:
    files = [wheel] if wheel else []
    files += sorted(wheels.glob("*.whl")) if wheels else []
    return Recipe(
        python=f"{python} {sys.version}",
        requirements=run.requirements,
        files=tuple((each.name, _digest(each)) for each in files),
        index=run.index,
        system_packages=run.system_packages,
    )


def _digest(file: Path) -> str:
    found = hashlib.sha256()
    with file.open("rb") as data:
        while piece := data.read(READ_BYTES):
            found.update(piece)
    return found.hexdigest()
