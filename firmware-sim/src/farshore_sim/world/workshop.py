"""What runs at a node of a world: programs that outlive their agents, on true time.

A run has a shim of its own, as the driver ``process`` gives it one: where the run has a lease, it is asked
to end, and killed, by the node's clock, whether an agent lives or not. All of it happens at the moment
at which it is due, so that runs can be compared over nodes whose clocks differ.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from farshore_edge.tasks.drivers.model import DriverError, Exit, Work
from farshore_edge.tasks.drivers.shim import main as shim
from farshore_edge.tasks.folders import Folders
from farshore_edge.tasks.lease import Lease
from farshore_edge.tasks.lease_files import MemoryLeases
from farshore_edge.tasks.parts import TaskParts

from farshore_sim.fleet.task_programs import ProgramDriver, ProgramRun, SimulatedSettings
from farshore_sim.world.clock import WorldClock
from farshore_sim.world.loop import Owner

SPAWN_S = 0.05
"""What a shim takes to begin its program, at most, and to say so."""
LATE_S = 0.02
"""How late a shim wakes up, at most."""

Key = tuple[str, int]
"""Task and instance."""


@dataclass(slots=True, eq=False, kw_only=True)
class WorldRun:
    """``began_s`` and ``ended_s``: true times. ``leased``: it may run only while its lease lasts.
    ``asked``: it was asked to end."""

    id: str
    node: str
    leased: bool
    program: SimulatedSettings
    began_s: float
    ended_s: float | None = None
    end: Exit | None = None
    asked: bool = False
    timer: asyncio.TimerHandle | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> Key:
        task, instance, _ = self.id.rsplit(".", 2)
        return task, int(instance)

    @property
    def epoch(self) -> int:
        return int(self.id.rsplit(".", 1)[1])

    def __str__(self) -> str:
        return f"{self.id} at {self.node}"


class WorldLeases(MemoryLeases):
    """Those of the machine; ``kept`` is told of each renewal."""

    def __init__(self, kept: Callable[[str], None]) -> None:
        super().__init__()
        self._told = kept

    def file(self, name: str) -> Path | None:
        """Says that it has a lease; nobody reads it."""
        return Path(name)

    def keep(self, name: str, lease: Lease) -> None:
        super().keep(name, lease)
        self._told(name)

    def clear(self) -> None:
        self._kept.clear()


class Results(Folders):
    """A batch task leaves its epoch as its result, so that it can be told whose it is."""

    def __init__(self) -> None:
        super().__init__(None)

    def read_result(self, name: str) -> tuple[Any, str | None]:
        return {"epoch": int(name.rsplit(".", 1)[1])}, None


class WorldWorkshop:
    """The machine's programs. ``began`` and ``ended`` are told at the moment."""

    def __init__(
        self,
        node: str,
        clock: WorldClock,
        *,
        rng: random.Random,
        began: Callable[[WorldRun], None],
        ended: Callable[[WorldRun], None],
    ) -> None:
        self.node = node
        self._clock = clock
        self.rng = rng
        self._began = began
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self.owner = Owner(f"{node}/programs")
        self.leases = WorldLeases(self._renewed)
        self._current: dict[str, WorldRun] = {}
        clock.watchers.append(self._look_at_all)

    def parts(self) -> TaskParts:
        """For an agent of this machine."""
        return TaskParts(
            drivers=(WorldDriver(self),),
            folders=Results(),
            leases=self.leases,
            boot_s=self._clock.monotonic_s,
        )

    # Runs

    def begin(self, work: Work) -> WorldRun:
        run = WorldRun(
            id=work.id,
            node=self.node,
            leased=work.lease is not None,
            program=work.run,
            began_s=self._loop.time(),
        )
        self._current[work.id] = run
        self._began(run)
        if run.program.run_s is not None:
            end = Exit(exit_code=run.program.exit_code)
            self._later(run.program.run_s, self.finish, run, end)
        self._look(run)
        return run

    def find(self, name: str) -> WorldRun | None:
        return self._current.get(name)

    def running(self) -> list[WorldRun]:
        return [run for run in self._current.values() if run.end is None]

    def names(self) -> list[str]:
        return list(self._current)

    def over(self, name: str) -> bool:
        """Whether its lease has ended, by the clock of its machine."""
        lease = self.leases.find(name)
        return lease is None or self._clock.monotonic_s() >= lease.kill_s

    def kill_all(self) -> None:
        """As SIGKILL from outside."""
        for run in self.running():
            self.finish(run, Exit(signal="SIGKILL"))

    def forget(self, name: str) -> None:
        self._current.pop(name, None)

    def ask(self, run: WorldRun) -> None:
        """The program is asked to end, and takes its time."""
        if not run.asked:
            run.asked = True
            self._later(run.program.stop_s, self.finish, run, Exit(signal="SIGTERM"))

    def finish(self, run: WorldRun, end: Exit) -> None:
        if run.end is not None:
            return
        run.end, run.ended_s = end, self._loop.time()
        if run.timer is not None:
            run.timer.cancel()
        self._ended(run)
        run.changed.set()

    # The machine

    def power_off(self) -> None:
        """Nothing runs any more, nobody has seen how it ended; leases are of a boot that is over."""
        for run in self.running():
            self.finish(run, Exit())
        self._current.clear()
        self.leases.clear()

    def lose_files(self) -> None:
        """The disk is empty: shims find no leases any more."""
        self.leases.clear()
        self._look_at_all()

    # The shims

    def _later(self, wait_s: float, call: Callable[..., object], *args: object) -> Any:
        return self._loop.call_later(max(0.0, wait_s), call, *args, context=self.owner.context)

    def _renewed(self, name: str) -> None:
        run = self._current.get(name)
        if run is not None:
            self._look(run)

    def _look_at_all(self) -> None:
        for run in self.running():
            self._look(run)

    def _look(self, run: WorldRun) -> None:
        """As ``shim._watch`` does: asks it to end, kills it, or waits until that is due."""
        if run.end is not None or not run.leased:
            return
        if run.timer is not None:
            run.timer.cancel()
        lease = self.leases.find(run.id)
        stop_s, kill_s = (0.0, 0.0) if lease is None else (lease.stop_s, lease.kill_s)
        now_s = self._clock.monotonic_s()
        if now_s >= kill_s:
            self._later(self.rng.uniform(0, LATE_S), self.finish, run, Exit(signal="SIGKILL"))
            return
        if now_s >= stop_s + shim.LATER_S:
            self.ask(run)
        due_s = kill_s if run.asked else min(stop_s + shim.LATER_S, kill_s)
        wait_s = (due_s - now_s) / self._clock.rate + self.rng.uniform(0.001, LATE_S)
        run.timer = self._later(wait_s, self._look, run)


class WorldRunning(ProgramRun):
    def __init__(self, workshop: WorldWorkshop, run: WorldRun) -> None:
        self._workshop = workshop
        self._run = run

    async def wait(self) -> Exit:
        await self._run.changed.wait()
        return self._run.end or Exit()

    async def stop(self, signal: str, grace_s: float) -> Exit:  # noqa: ARG002 # the contract
        self._workshop.ask(self._run)
        try:
            async with asyncio.timeout(grace_s):
                await self._run.changed.wait()
        except TimeoutError:
            self._workshop.finish(self._run, Exit(signal="SIGKILL"))
        return await self.wait()


class WorldDriver(ProgramDriver):
    def __init__(self, workshop: WorldWorkshop) -> None:
        self._workshop = workshop

    async def start(self, work: Work) -> WorldRunning:
        self.refuse_start(work)
        rng = self._workshop.rng
        await asyncio.sleep(rng.uniform(0, SPAWN_S))
        if work.lease is not None and self._workshop.over(work.id):
            raise DriverError("not_started", "its lease has ended")  # as the shim looks at it
        run = self._workshop.begin(work)
        await asyncio.sleep(rng.uniform(0, SPAWN_S))
        return WorldRunning(self._workshop, run)

    async def adopt(self, work: Work, trace: Mapping[str, Any]) -> WorldRunning | None:  # noqa: ARG002 # its id says all
        run = self._workshop.find(work.id)
        return None if run is None else WorldRunning(self._workshop, run)

    async def sweep(self, keep: frozenset[str]) -> list[str]:
        ended = []
        for name in self._workshop.names():
            run = self._workshop.find(name)
            if name in keep or run is None:
                continue
            if run.end is None:
                self._workshop.finish(run, Exit(signal="SIGKILL"))
                ended.append(name)
            self._workshop.forget(name)
        return ended

    async def remove(self, work: Work) -> None:
        self._workshop.forget(work.id)
