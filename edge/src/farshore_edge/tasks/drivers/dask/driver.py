"""Instances as pieces of work for a Dask cluster: a node with this driver has the cluster's capacity.

A small program of this machine hands the work over, waits for it and takes it back (``submit.py``); it is
held as any other process, so it outlives the agent, and is found again.
"""

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from farshore_protocol.tasks.settings import DaskSettings, ProcessSettings
from farshore_protocol.tasks.spec import Limits

from farshore_edge.config.programs import HostPrograms
from farshore_edge.tasks.drivers.dask import capacity, submit
from farshore_edge.tasks.drivers.dask.settings import order
from farshore_edge.tasks.drivers.model import (
    Capacity,
    Driver,
    DriverError,
    Exit,
    Running,
    Usage,
    Work,
)

CAPACITY_S = 40.0
UNLIMITED = Limits()


class HandedOver:
    """The program that waits for the work. What the work uses is the cluster's to tell."""

    def __init__(self, program: Running) -> None:
        self._program = program

    @property
    def trace(self) -> Mapping[str, Any]:
        return self._program.trace

    @property
    def pid(self) -> int | None:
        return self._program.pid

    async def wait(self) -> Exit:
        return await self._program.wait()

    async def stop(self, signal: str, grace_s: float) -> Exit:  # noqa: ARG002 # it knows one word
        return await self._program.stop("SIGTERM", grace_s)

    async def usage(self) -> Usage | None:
        return None


class DaskDriver:
    """``scheduler``: the node's own, None: each task names one. ``python``: has dask and distributed."""

    name = "dask"
    settings = DaskSettings

    def __init__(
        self, processes: Driver, scheduler: str | None, *, python: str = sys.executable
    ) -> None:
        self._processes = processes
        self._scheduler = scheduler
        self._python = python

    async def available(self) -> str | None:
        """A scheduler that is away when the agent starts may be there when it is needed."""
        if importlib.util.find_spec("distributed") is None:
            return "the package distributed is not installed; pip install 'farshore-edge[dask]'"
        return await self._processes.available()

    async def capacity(self) -> Capacity | None:
        """Of the node's own scheduler; None where there is none, or it does not answer."""
        if self._scheduler is None:
            return None
        argv = [self._python, "-I", capacity.__file__, self._scheduler]
        ended = await HostPrograms(command="dask capacity").run(argv, timeout_s=CAPACITY_S)
        if ended.code != 0:
            return None
        return read_capacity(ended.output, self._scheduler)

    async def prepare(self, work: Work) -> None:
        await self._processes.prepare(self._program(work))

    async def start(self, work: Work) -> Running:
        return HandedOver(await self._processes.start(self._program(work)))

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> Running | None:
        found = await self._processes.adopt(self._program(work), trace)
        return None if found is None else HandedOver(found)

    async def sweep(self, keep: frozenset[str]) -> list[str]:
        return await self._processes.sweep(keep)

    async def remove(self, work: Work) -> None:
        await self._processes.remove(self._program(work))

    def _program(self, work: Work) -> Work:
        """The program that submits it, without the limits of what runs elsewhere."""
        run: DaskSettings = work.run
        scheduler = run.scheduler or self._scheduler
        if scheduler is None:
            message = (
                "scheduler: this node has none of its own; expected one in the task's settings"
            )
            raise DriverError("no_scheduler", message, permanent=True)
        told = order(run, scheduler=scheduler, wheel=_wheel(work), work_id=work.id)
        argv = [self._python, "-I", submit.__file__, json.dumps(told)]
        return dataclasses.replace(
            work, run=ProcessSettings(argv=argv), limits=UNLIMITED, cpus=(), stop_signal="SIGTERM"
        )


def _wheel(work: Work) -> str | None:
    if work.run.wheel is None:
        return None
    found: Path = (work.folder / work.run.wheel).resolve()
    if not found.is_relative_to(work.folder.resolve()):
        message = f"{work.run.wheel}: expected the path of an artifact in the task's folder"
        raise DriverError("no_file", message, permanent=True)
    return str(found)


def read_capacity(text: str, scheduler: str) -> Capacity | None:
    """From the last line of ``capacity.py``. Pure."""
    try:
        told = json.loads(text.strip().splitlines()[-1])
        return Capacity(
            cpu_cores=float(told["cpu_cores"]),
            memory_bytes=int(told["memory_bytes"]),
            facts={"scheduler": scheduler, "workers": int(told["workers"])},
        )
    except (ValueError, KeyError, TypeError, IndexError):
        return None
