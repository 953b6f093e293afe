"""Begins runs, finds them again, and ends what belongs to nobody."""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from farshore_protocol.tasks.settings import ProcessSettings

from farshore_edge.commands.verbs.table import Seen, process
from farshore_edge.tasks.drivers import ending
from farshore_edge.tasks.drivers.limits.model import Cage, Cages, OpenCages
from farshore_edge.tasks.drivers.model import DriverError, Work
from farshore_edge.tasks.drivers.process.run_files import (
    MARK,
    begin,
    begun_of,
    exit_of,
    locked,
    number_of,
)
from farshore_edge.tasks.drivers.process.running import ProcessRun
from farshore_edge.tasks.drivers.process.starting import (
    CageGoneError,
    refused,
    shim_argv,
    spawned,
    user_of,
)
from farshore_edge.tasks.drivers.shim.system import boot_id

ADOPT_S = 10.0
MADE_AGAIN = 3
"""Times that a control group is made again for one start."""


class ProcessDriver:
    """``folder``: of all instances of this agent, as it is written into marks."""

    name = "process"
    settings = ProcessSettings

    def __init__(self, folder: Path, cages: Cages | None = None) -> None:
        self._folder = folder.absolute()
        self._cages = cages or OpenCages()

    async def available(self) -> str | None:
        return None if process(os.getpid()) is not None else "this machine has no /proc"

    async def prepare(self, work: Work) -> None:
        user_of(work.run, work.folder)
        folder = work.folder / work.run.cwd
        if not folder.is_dir():
            raise DriverError("no_folder", f"cwd {folder}: there is no such folder")

    async def start(self, work: Work) -> ProcessRun:
        """Who keeps order among the machine's control groups (systemd, as it starts or ends) takes empty ones
        away: one that goes before its program is in it is made once more."""
        for _ in range(MADE_AGAIN):
            with contextlib.suppress(CageGoneError):
                return await self._started(work)
        return await self._started(work)

    async def _started(self, work: Work) -> ProcessRun:
        cage = self._cages.make(work)
        try:
            number = begin(work.state)
            argv = [*shim_argv(work, cage, number), "--", *work.run.argv]
            said = await spawned(work, argv)
        except (OSError, ValueError) as exc:
            cage.remove()
            raise DriverError("not_started", f"{work.run.argv[0]} can't be started: {exc}") from exc
        word, _, rest = said.partition(" ")
        if word != "started":
            cage.remove()
            raise refused(word, rest)
        begun = begun_of(work.state)
        if begun is None:  # its disk can't be written: it runs, and is known by what was said
            raise DriverError("no_state", f"{work.state}: the shim could not write there")
        return ProcessRun(work, cage, begun, number)

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> ProcessRun | None:  # noqa: ARG002 # its files say all
        return await self._found(work)

    async def _found(self, work: Work) -> ProcessRun | None:
        cage = self._cages.find(work.id)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + ADOPT_S
        while True:
            with locked(work.state) as ours:
                if ours:
                    return await self._left(work, cage)
            begun = begun_of(work.state)
            if begun is not None and begun.number == number_of(work.state):
                return ProcessRun(work, cage, begun, begun.number)
            if loop.time() > until_s:
                raise DriverError("no_answer", "its shim lives, and does not say what it has begun")
            await asyncio.sleep(ending.PAUSE_S)

    async def _left(self, work: Work, cage: Cage) -> ProcessRun | None:
        """No shim lives. What it has not ended itself is ended, and one that comes late begins nothing."""
        begun, number = begun_of(work.state), number_of(work.state)
        run = None
        if exit_of(work.state, number) is not None:
            run = ProcessRun(work, cage, None, number)
        elif begun is not None and begun.number == number and begun.boot == boot_id():
            run = ProcessRun(work, cage, begun, number)
            await run.wait()  # ends what is left of it
        if run is None:
            with contextlib.suppress(OSError):
                begin(work.state)
            await ProcessRun(work, cage, None, number).kill()
        return run

    async def sweep(self, keep: frozenset[str]) -> list[str]:
        known = {f"{MARK}={self._folder / each}" for each in keep}

        def look() -> list[Seen]:
            return [
                seen
                for seen, mark in _all_marked(f"{MARK}={self._folder}/")
                if mark not in known and seen.pid != os.getpid()
            ]

        found = await asyncio.to_thread(look)
        if found:
            await ending.kill_all(look)
        for work_id in self._cages.ids() - keep:
            found += await self._emptied(self._cages.find(work_id))
        return [f"{seen.name} (pid {seen.pid})" for seen in found]

    async def _emptied(self, cage: Cage) -> list[Seen]:
        """Whoever was in it, also without a mark; it is taken away."""

        def look() -> list[Seen]:
            found = [process(pid) for pid in cage.pids() or ()]
            cage.kill()
            return [seen for seen in found if seen is not None]

        found = await asyncio.to_thread(look)
        if found:
            await ending.kill_all(look)
        with contextlib.suppress(OSError):
            cage.remove()
        return found

    async def remove(self, work: Work) -> None:
        for name in ("started", "exit"):
            with contextlib.suppress(OSError):
                (work.state / name).unlink()
        self._cages.find(work.id).remove()


def _all_marked(prefix: str) -> list[tuple[Seen, str]]:
    """The instance's mark of whoever has one that begins so."""
    found = []
    wanted = prefix.encode()
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
            for word in file.read().split(b"\0"):
                if word.startswith(wanted) and (seen := process(int(entry))) is not None:
                    found.append((seen, word.decode(errors="replace")))
    return found
