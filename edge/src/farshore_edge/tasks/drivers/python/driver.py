"""Instances as functions of Python packages: an environment is made, and the rest is a process."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from farshore_protocol.tasks.settings import ProcessSettings, PythonSettings

from farshore_edge.config.programs import HostPrograms
from farshore_edge.tasks.drivers.model import Driver, DriverError, Running, Work
from farshore_edge.tasks.drivers.process.starting import user_of
from farshore_edge.tasks.drivers.python.environments import Environments

CHECK_S = 60.0

CALL = """\
import functools, importlib, sys
sys.argv = sys.argv[1:]
module, _, name = sys.argv[0].partition(":")
sys.exit(functools.reduce(getattr, name.split("."), importlib.import_module(module))())
"""
FIND = """\
import importlib.util, sys
sys.exit(0 if importlib.util.find_spec(sys.argv[1]) else 3)
"""
"""Of a package alone: to look into it would run its code as the agent."""
ABSENT = 3


class PythonDriver:
    """``processes``: the driver that runs the processes, and knows them again."""

    name = "python"
    settings = PythonSettings

    def __init__(self, processes: Driver, environments: Environments) -> None:
        self._processes = processes
        self._environments = environments

    async def available(self) -> str | None:
        return self._environments.missing() or await self._processes.available()

    async def prepare(self, work: Work) -> None:
        python = await self._environments.ready(work.run, work.folder, work.id)
        program = _process(work, str(python))
        await self._processes.prepare(program)
        for file in (python, python.resolve()):  # of the environment, and the interpreter behind it
            user_of(program.run, file)
        module = work.run.entry.partition(":")[0].partition(".")[0]
        argv = [str(python), "-c", FIND, module]
        ended = await HostPrograms(command="python environment").run(
            argv, timeout_s=CHECK_S, cwd=str(work.folder)
        )
        if ended.code == ABSENT:
            message = f"entry {work.run.entry}: there is no module {module} in its environment"
            raise DriverError("no_program", message, permanent=True)

    async def start(self, work: Work) -> Running:
        python = await self._environments.ready(work.run, work.folder, work.id)
        return await self._processes.start(_process(work, str(python)))

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> Running | None:
        return await self._processes.adopt(_process(work, "python"), trace)

    async def sweep(self, keep: frozenset[str]) -> list[str]:
        ended = await self._processes.sweep(keep)
        await self._environments.keep(keep)
        return ended

    async def remove(self, work: Work) -> None:
        await self._processes.remove(_process(work, "python"))
        self._environments.release(work.id)


def _process(work: Work, python: str) -> Work:
    """The same work for the driver of processes."""
    run: PythonSettings = work.run
    argv = [python, "-c", CALL, run.entry, *run.args]
    env = {"PYTHONUNBUFFERED": "1", **work.env}
    return dataclasses.replace(work, run=ProcessSettings(argv=argv, user=run.user), env=env)
