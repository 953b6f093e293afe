"""A node of a world: a disk, a clock, a line, and lives of the real agent that follow each other."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from farshore_edge.app import Agent
from farshore_edge.commands.verbs import Context, Outcome
from farshore_edge.config.simulated import simulated_config
from farshore_edge.settings import Settings
from farshore_edge.telemetry.sampler import Collector
from farshore_protocol.commands import CommandError, Output
from farshore_protocol.commands.catalogue import ExecArgs

from farshore_sim.world.bus import WorldBus
from farshore_sim.world.clock import WorldClock
from farshore_sim.world.disk import Disk, DiskDatabase
from farshore_sim.world.link import WorldLink
from farshore_sim.world.loop import Owner
from farshore_sim.world.witness import Witness
from farshore_sim.world.workshop import WorldWorkshop

SERIES = "w.n"
"""Each sample of a node has a number of its own in this series."""


class Numbers:
    """A collector whose every sample is another number, over all lives of the node."""

    name = "numbers"

    def __init__(self) -> None:
        self._last = 0

    def sample(self) -> dict[str, float]:
        self._last += 1
        return {SERIES: float(self._last)}


class Machine:
    """The hardware: nothing but what invariants need. ``roomy``: all tasks together fit on it."""

    def __init__(self, node: str, *, roomy: bool) -> None:
        self._node = node
        self._roomy = roomy
        self._numbers = Numbers()

    def collectors(self) -> Sequence[Collector]:
        return (self._numbers,)

    def facts(self) -> dict[str, Any]:
        room = {"cpu": {"cores_logical": 64}, "mem": {"total_bytes": 2**38}} if self._roomy else {}
        return {"hostname": self._node, **room}


class Effects:
    """``exec`` at a node: ``effect TAG SECONDS OUTCOME`` changes the world, once for each run."""

    def __init__(self, disk: Disk, witness: Witness) -> None:
        self._disk = disk
        self._witness = witness

    async def run(self, args: ExecArgs, context: Context) -> Outcome:
        _, tag, seconds, outcome = args.argv
        self._witness.had_effect(self._disk.node, tag, self._disk.generation)
        await context.emit(Output(offset=0, stream="stdout", text=f"{tag}\n"))
        await asyncio.sleep(float(seconds))
        if outcome == "raises":
            raise RuntimeError("the program is broken on purpose")
        if outcome == "fails":
            return Outcome(state="failed", error=CommandError(code="exit", message="exit code 1"))
        return Outcome(result={"exit_code": 0, "signal": None})


class SimulatedNode:
    """``agent``: the agent that lives, None while none does. ``retired``: none will, ever again."""

    def __init__(
        self,
        name: str,
        bus: WorldBus,
        disk: Disk,
        clock: WorldClock,
        workshop: WorldWorkshop,
        *,
        seed: int,
        settings: Settings,
        witness: Witness,
    ) -> None:
        self.name = name
        self.disk = disk
        self.clock = clock
        self._bus = bus
        self._seed = seed
        self._settings = settings
        self._witness = witness
        self.site = settings.group
        self._machine = Machine(name, roomy=bool(settings.group))
        self.workshop = workshop
        self._life = 0
        self._stopping = False
        self.retired = False
        self.agent: Agent | None = None
        self.owner: Owner | None = None
        self.owners: list[Owner] = [workshop.owner]

    def start(self) -> None:
        if self.agent is not None or self.retired:
            return
        self._life += 1
        self._witness.counts.agent_lives += 1
        self._witness.note("agent starts", self.name, self._life)
        owner = self.owner = Owner(f"{self.name}/{self._life}")
        self.owners.append(owner)
        self.agent = owner.make(self._make)
        owner.spawn(self._live(self.agent), self.name)

    def _make(self) -> Agent:
        rng = random.Random(f"{self._seed}/{self.name}/{self._life}")  # noqa: S311 # replayable
        return Agent(
            self._settings,
            machine=self._machine,
            database=DiskDatabase(self.disk),
            link=WorldLink(self._bus, self.name, clock=self.clock, rng=rng),
            clock=self.clock,
            rng=rng,
            handlers={"exec": Effects(self.disk, self._witness).run},
            config=simulated_config(self.disk.config),
            tasks=self.workshop.parts(),
        )

    async def _live(self, agent: Agent) -> None:
        try:
            await agent.run()
        except Exception as exc:
            self._witness.violated("I6", f"the agent of {self.name} broke: {exc!r}")
            return
        if agent is self.agent and not self._stopping:
            self._witness.violated("I6", f"the agent of {self.name} ended by itself")

    def crash(self, broker_s: float) -> None:
        """Killed: nothing of it runs on; the broker notices after ``broker_s``."""
        if self.owner is None or self.agent is None:
            return
        self._witness.note("agent dies", self.name, self._life)
        self.owner.kill()
        self.agent = None
        self._bus.cut(self.name, broker_s=broker_s, client_s=None)

    def power_off(self) -> None:
        """The machine, and with it all that runs there; its clock begins anew."""
        self._witness.note("power off", self.name)
        self.workshop.power_off()
        self.clock.boot()

    @property
    def frozen(self) -> bool:
        return self.owner is not None and self.owner.frozen

    def freeze(self) -> None:
        """The agent, not what runs beside it."""
        if self.agent is not None and self.owner is not None:
            self.owner.freeze()

    def thaw(self) -> None:
        if self.owner is not None and self.owner.frozen:
            self._witness.note("thawed", self.name)
            self.owner.thaw()

    async def stop(self) -> None:
        """Orderly, as on SIGTERM; a crash in the middle of it ends it."""
        agent, owner = self.agent, self.owner
        if agent is None or owner is None or self._stopping:
            return
        self._stopping = True
        self._witness.note("agent stops", self.name, self._life)
        stopping = owner.spawn(agent.stop(), "agent stops")
        try:
            while not stopping.done() and not owner.dead:
                await asyncio.wait([stopping], timeout=1.0)
        finally:
            self._stopping = False
        if not owner.dead:
            if stopping.exception() is not None:
                self._witness.violated("I6", f"{self.name}: stop broke: {stopping.exception()!r}")
            owner.kill()
            self.agent = None

    def event(self, number: int) -> None:
        """Something happens at the node that it must tell the center exactly once."""
        if self.agent is not None and self.owner is not None:
            body = {"data": {"n": number}}
            self.owner.spawn(self.agent.outbox.append("events", "evt/world", body), "event")
