"""Tasks at a simulated node: runs that are nothing but times, on the node's own clock.

A ``Workshop`` is the machine's: it outlives its agents, as processes do. How a run goes stands in the
task's settings. Where a run has a lease, it ends by the lease also while no agent lives.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from farshore_edge.tasks.drivers.model import Exit, Work
from farshore_edge.tasks.lease_files import MemoryLeases
from farshore_edge.tasks.parts import TaskParts

from farshore_sim.fleet.task_programs import ProgramDriver, ProgramRun, SimulatedSettings


@dataclass(slots=True, kw_only=True)
class Run:
    """``ended_s`` and ``end`` once somebody has ended it, or has seen its end."""

    id: str
    began_s: float
    due_s: float | None
    exit_code: int
    ended_s: float | None = None
    end: Exit | None = None


class Workshop:
    """``runs``: all that ever began here, in their order, where ``remember``; else those that are
    still of use. ``now_s``: the node's monotonic clock."""

    def __init__(self, now_s: Callable[[], float], *, remember: bool = False) -> None:
        self._now_s = now_s
        self._remember = remember
        self.leases = MemoryLeases()
        self.runs: list[Run] = []
        self._current: dict[str, Run] = {}
        self._changed: dict[str, asyncio.Event] = {}

    def parts(self) -> TaskParts:
        """For an agent of this machine."""
        return TaskParts(drivers=(SimulatedDriver(self),), leases=self.leases, boot_s=self._now_s)

    def begin(self, work: Work) -> Run:
        run: SimulatedSettings = work.run
        now_s = self._now_s()
        due_s = None if run.run_s is None else now_s + run.run_s
        made = Run(id=work.id, began_s=now_s, due_s=due_s, exit_code=run.exit_code)
        self._current[work.id] = made
        if self._remember:
            self.runs.append(made)
        return made

    def find(self, name: str) -> Run | None:
        return self._current.get(name)

    def look(self, run: Run) -> Exit | None:
        """How it has ended, as far as it has."""
        now_s = self._now_s()
        if run.end is None and (lease := self.leases.find(run.id)) and now_s >= lease.kill_s:
            early = run.due_s is not None and run.due_s <= lease.kill_s
            if not early:
                self.end(run, Exit(signal="SIGKILL"), max(run.began_s, lease.kill_s))
        if run.end is None and run.due_s is not None and now_s >= run.due_s:
            self.end(run, Exit(exit_code=run.exit_code), run.due_s)
        return run.end

    def end(self, run: Run, end: Exit, at_s: float | None = None) -> None:
        if run.end is None:
            run.end, run.ended_s = end, self._now_s() if at_s is None else at_s
            self.changed(run.id).set()

    def kill(self, name: str) -> bool:
        """As SIGKILL from outside; whether it ran."""
        run = self._current.get(name)
        if run is None or self.look(run) is not None:
            return False
        self.end(run, Exit(signal="SIGKILL"))
        return True

    def power_off(self) -> None:
        """The machine loses its power: nothing runs any more, nobody has seen how it ended."""
        for run in self._current.values():
            if self.look(run) is None:
                self.end(run, Exit())
        self._current.clear()

    def forget(self, name: str) -> None:
        self._current.pop(name, None)
        self._changed.pop(name, None)

    def names(self) -> list[str]:
        return list(self._current)

    def changed(self, name: str) -> asyncio.Event:
        return self._changed.setdefault(name, asyncio.Event())

    def left_s(self, run: Run) -> float | None:
        """Until it ends by itself, as far as is known now."""
        lease = self.leases.find(run.id)
        kill_s = None if lease is None else lease.kill_s
        ends = [end for end in (run.due_s, kill_s) if end is not None]
        return min(ends) - self._now_s() if ends else None


class SimulatedRun(ProgramRun):
    def __init__(self, workshop: Workshop, run: Run, stop_s: float) -> None:
        self._workshop = workshop
        self._run = run
        self._stop_s = stop_s

    async def wait(self) -> Exit:
        changed = self._workshop.changed(self._run.id)
        while (end := self._workshop.look(self._run)) is None:
            changed.clear()
            left_s = self._workshop.left_s(self._run)
            try:
                async with asyncio.timeout(None if left_s is None else max(left_s, 0.001)):
                    await changed.wait()
            except TimeoutError:
                continue
        return end

    async def stop(self, signal: str, grace_s: float) -> Exit:
        if self._workshop.look(self._run) is None and self._stop_s:
            await asyncio.sleep(min(self._stop_s, grace_s))
        killed = self._stop_s > grace_s
        self._workshop.look(self._run)
        self._workshop.end(self._run, Exit(signal="SIGKILL" if killed else signal))
        return await self.wait()


class SimulatedDriver(ProgramDriver):
    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    async def start(self, work: Work) -> SimulatedRun:
        self.refuse_start(work)
        return SimulatedRun(self._workshop, self._workshop.begin(work), work.run.stop_s)

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> SimulatedRun | None:  # noqa: ARG002 # its id says all
        run = self._workshop.find(work.id)
        return None if run is None else SimulatedRun(self._workshop, run, work.run.stop_s)

    async def sweep(self, keep: frozenset[str]) -> list[str]:
        ended = [name for name in self._workshop.names() if name not in keep]
        found = [name for name in ended if self._workshop.kill(name)]
        for name in ended:
            self._workshop.forget(name)
        return found

    async def remove(self, work: Work) -> None:
        self._workshop.forget(work.id)
