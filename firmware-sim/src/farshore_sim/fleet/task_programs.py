"""Programs of simulated nodes: how one goes, and what fails on purpose, stands in the settings of its task.

What it means that one runs, and for how long, is its machine's: a simulated node's, or a world's.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from farshore_edge.tasks.drivers.model import DriverError, Usage, Work
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0, le=30 * 86_400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedSettings:
    """``run_s``: how long it runs, None: until it is ended. ``exit_code``: how it then ends.
    ``prepare_s``, ``stop_s``: how long it takes to be prepared, and to end once it is asked to.
    ``fails``: what can't be done with it: ``prepare``, ``start``."""

    run_s: Seconds | None = None
    exit_code: Annotated[int, Meta(ge=0, le=255)] = 0
    prepare_s: Seconds = 0.0
    stop_s: Seconds = 0.0
    fails: str | None = None


class ProgramRun:
    """A run that leaves nothing at a real machine: no trace, no process, no use."""

    @property
    def trace(self) -> Mapping[str, Any]:
        return {}

    @property
    def pid(self) -> int | None:
        return None

    async def usage(self) -> Usage | None:
        return None


class ProgramDriver:
    """What is done with a program before it begins."""

    name = "simulated"
    settings = SimulatedSettings

    async def available(self) -> str | None:
        return None

    async def prepare(self, work: Work) -> None:
        if work.run.prepare_s:
            await asyncio.sleep(work.run.prepare_s)
        if work.run.fails == "prepare":
            raise DriverError("no_image", "it can't be prepared, on purpose")

    def refuse_start(self, work: Work) -> None:
        """Raises ``DriverError`` where it is not to be started."""
        if work.run.fails == "start":
            raise DriverError("no_program", "it can't be started, on purpose")
