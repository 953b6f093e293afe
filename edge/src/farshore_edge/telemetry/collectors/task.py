"""What the instances of tasks use: processor and memory, each as its driver tells it.

A driver may have to ask another program, so it is asked beside the sampler, and a sample is what was
heard last. Who runs is the supervisor's to say.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from farshore_edge.telemetry.collectors.model import Sample
from farshore_edge.telemetry.collectors.series import DeviceLabels, series_name

log = logging.getLogger(__name__)

TASKS_MAX = 256
ANSWER_S = 5.0


class Used(Protocol):
    @property
    def cpu_s(self) -> float: ...

    @property
    def memory_bytes(self) -> int: ...


class Using(Protocol):
    """A run of an instance."""

    async def usage(self) -> Used | None: ...


@dataclass(frozen=True, slots=True)
class _Reading:
    run: Using
    at_s: float
    cpu_s: float
    memory_bytes: int


class TaskCollector:
    """``running``: ``TASK/INSTANCE`` → its run, of all that run now. ``monotonic_s``: a clock that only
    goes on. The first reading of a run has no processor's share: it covers the time between two."""

    name = "task"

    def __init__(
        self,
        running: Callable[[], Mapping[str, Using]],
        *,
        monotonic_s: Callable[[], float],
        interval_s: float = 10.0,
    ) -> None:
        self._running = running
        self._monotonic_s = monotonic_s
        self._interval_s = interval_s
        self._labels = DeviceLabels(self.name, TASKS_MAX)
        self._before: dict[str, _Reading] = {}
        self._now: dict[str, _Reading] = {}

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self._interval_s)

    async def look(self) -> None:
        """Asks all of them at once; one that does not answer has no series until it does."""
        running = dict(self._running())
        found = await asyncio.gather(*(self._ask(run) for run in running.values()))
        self._before, self._now = self._now, {}
        for name, reading in zip(running, found, strict=True):
            if reading is not None:
                self._now[name] = reading

    async def _ask(self, run: Using) -> _Reading | None:
        try:
            async with asyncio.timeout(ANSWER_S):
                used = await run.usage()
        except TimeoutError:
            return None
        except Exception as exc:  # a driver may raise anything; the others must be asked
            log.debug("what a task uses can't be told", extra={"error": str(exc)})
            return None
        if used is None:
            return None
        return _Reading(run, self._monotonic_s(), used.cpu_s, used.memory_bytes)

    def sample(self) -> Sample:
        sample: Sample = {}
        for name, label in self._labels.admit(sorted(self._now)).items():
            reading, before = self._now[name], self._before.get(name)
            sample[series_name("task.mem.bytes", "task", label)] = float(reading.memory_bytes)
            # Another run of the same instance counts from zero again.
            if before is not None and before.run is reading.run and reading.at_s > before.at_s:
                spent_s = max(reading.cpu_s - before.cpu_s, 0.0)
                cores = spent_s / (reading.at_s - before.at_s)
                sample[series_name("task.cpu.cores", "task", label)] = round(cores, 3)
        self._labels.account(sample)
        return sample
