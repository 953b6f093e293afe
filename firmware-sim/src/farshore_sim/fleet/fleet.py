"""A fleet of simulated nodes: the agent's own code, simulated hardware behind its collectors, a
real MQTT link each, all in one process and one event loop.
"""

import asyncio
import logging
import random
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from farshore_edge.app import Agent
from farshore_edge.database import Database, MemoryDatabase, SqliteDatabase
from farshore_edge.host import mqtt_link_settings
from farshore_edge.settings import Settings, load
from farshore_protocol.clock import Clock
from farshore_protocol.ids import Ids, system_rng
from farshore_protocol.link.mqtt import MqttLink

from farshore_sim.fleet.network import SimulatedNetwork
from farshore_sim.fleet.places import labels, place
from farshore_sim.fleet.power import SimulatedPower
from farshore_sim.fleet.programs import Programs
from farshore_sim.fleet.tasks import Workshop
from farshore_sim.hardware import SimulatedHardware

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSettings:
    """``data``: where the nodes keep their outboxes; None keeps them in memory.

    ``starts_per_s``: how many nodes begin to connect in a second. ``first``: the number of the first
    node, for several fleets that are parts of one: names and places go on by it.
    """

    nodes: int
    center: str = "mqtt://127.0.0.1:1883"
    seed: int = 1
    prefix: str = "sim"
    data: Path | None = None
    sample_interval_s: float = 5.0
    batch_s: float = 10.0
    heartbeat_s: float = 30.0
    backoff_first_s: float = 2.0
    backoff_max_s: float = 30.0
    starts_per_s: float = 200.0
    first: int = 1


class Fleet:
    def __init__(self, settings: FleetSettings, *, clock: Clock) -> None:
        """Raises SettingsError where the nodes could not be made by the settings."""
        self._settings = settings
        self._clock = clock
        self._running: list[asyncio.Task[None]] = []
        self._renewing: set[str] = set()
        self._powers: dict[str, SimulatedPower] = {}
        self._memories: dict[str, MemoryDatabase] = {}
        self._workshops: dict[str, Workshop] = {}
        self.agents: list[Agent] = []
        for index, name in enumerate(self.names()[:1]):
            self._node_settings(index, name)

    def names(self) -> list[str]:
        first, last = self._settings.first, self._settings.first + self._settings.nodes - 1
        width = len(str(last))
        return [f"{self._settings.prefix}-{i:0{width}}" for i in range(first, last + 1)]

    def connected(self) -> int:
        return sum(agent.connected for agent in self.agents)

    def unsent(self) -> int:
        """Records that the center has not acknowledged."""
        return sum(
            queue.records for agent in self.agents for queue in agent.outbox.queues().values()
        )

    def made(self) -> int:
        """Records made since the start."""
        return sum(sum(agent.outbox.made().values()) for agent in self.agents)

    def heads(self) -> dict[str, dict[str, int]]:
        """By node and stream: how many records it has made, by its own count."""
        return {agent.settings.node: agent.outbox.made() for agent in self.agents}

    def broken(self) -> list[str]:
        """Nodes whose agent has ended by itself."""
        ended = [task.get_name() for task in self._running if task.done()]
        return [name for name in ended if name not in self._renewing]

    async def start(self) -> None:
        """Starts the nodes one after the other at the settled rate; returns when all are started."""
        for index, name in enumerate(self.names()):
            agent = self._make(index, name)
            self.agents.append(agent)
            self._running.append(asyncio.create_task(agent.run(), name=name))
            await asyncio.sleep(1 / self._settings.starts_per_s)

    async def _renew(self, index: int, after_s: float) -> None:
        """The agent ends as on SIGTERM, and another one begins on what it has kept."""
        name = self.agents[index].settings.node
        self._renewing.add(name)
        try:
            await self.agents[index].stop()
        except Exception:
            log.exception("a node did not stop orderly", extra={"node": name})
        await asyncio.wait([self._running[index]])
        await asyncio.sleep(after_s)
        agent = self.agents[index] = self._make(index, name)
        self._running[index] = asyncio.create_task(agent.run(), name=name)
        self._renewing.discard(name)

    def _make(self, index: int, name: str) -> Agent:
        settings = self._node_settings(index, name)
        rng = random.Random(f"{self._settings.seed}/{name}")  # noqa: S311 # replayable, no secret
        hardware = SimulatedHardware(
            node=name, seed=self._settings.seed, now_s=self._clock.monotonic_s
        )
        started_s = self._clock.monotonic_s()
        programs = Programs(name, hardware.facts, lambda: self._clock.monotonic_s() - started_s)
        return Agent(
            settings,
            machine=hardware,
            database=self._database(name),
            link=MqttLink(mqtt_link_settings(settings), clock=self._clock, rng=rng),
            clock=self._clock,
            # Never by the seed: a restart is another boot, or the center would take the new
            # counters, deaths and clock for the old ones'.
            rng=system_rng(),
            handlers={
                "exec": programs.run,
                "net-probe": SimulatedNetwork(name, self._settings.seed).probe,
            },
            power=self._power(index, name),
            tasks=self.workshop(name).parts(),
        )

    def workshop(self, name: str) -> Workshop:
        """Where the tasks of a node run: it outlives its agents."""
        return self._workshops.setdefault(name, Workshop(self._clock.monotonic_s))

    def _power(self, index: int, name: str) -> SimulatedPower:
        """Of the machine: it outlives its agents."""
        made = SimulatedPower(partial(self._renew, index), Ids(system_rng()).epoch)
        return self._powers.setdefault(name, made)

    def _database(self, name: str) -> Database:
        # Epochs are not by the seed either: a folder that was wiped is not a replay.
        ids = Ids(system_rng())
        if self._settings.data is None:
            # A restart of a simulated agent is not a new disk.
            return self._memories.setdefault(name, MemoryDatabase(ids))
        return SqliteDatabase(self._settings.data / name / "agent.db", ids, wait_s=0)

    def _node_settings(self, index: int, name: str) -> Settings:
        fleet = self._settings
        flags = {
            "node": name,
            "center": fleet.center,
            "group": place(self._settings.first - 1 + index),
            "labels": labels(self._settings.first - 1 + index),
            "dev": True,
            "sample_interval_s": fleet.sample_interval_s,
            "batch_s": fleet.batch_s,
            "heartbeat_s": fleet.heartbeat_s,
            "backoff_first_s": fleet.backoff_first_s,
            "backoff_max_s": fleet.backoff_max_s,
            "link_every_s": 0.0,  # a thousand of them share this machine: there is no link to measure
        }
        return load(flags, {}).settings

    async def stop(self) -> None:
        """Every agent orderly, as on SIGTERM."""
        for power in self._powers.values():
            await power.off()
        ends = await asyncio.gather(
            *(agent.stop() for agent in self.agents), return_exceptions=True
        )
        for agent, end in zip(self.agents, ends, strict=True):
            if isinstance(end, Exception):
                log.error("a node did not stop orderly", extra={"node": agent.settings.node})
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
