"""The broker is killed and its storage wiped, again and again, under load; then the same check.

For each kind of broker, one after another, with a center and agents of its own.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soak.broker import KINDS, Broker
from soak.check import Check
from soak.errors import SoakError
from soak.fleet import back, ended, stop
from soak.http import CenterHttp, until
from soak.load import Load
from soak.processes import Ports, Program, agent_program, center_program
from soak.violation import Findings
from soak.witness import Listener, Witness

READY_S = 60.0
AWAY_S = (0.05, 1.5)
"""How long there is no broker; nodes go on measuring."""
BETWEEN_S = (0.2, 2.0)
LOOK_EVERY_S = 0.1
"""Into outboxes while the listener is deaf; an agent keeps what is acknowledged for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokersSettings:
    """``kills``: of each kind; ``may_lose``: as for the kills of agents."""

    kinds: Sequence[str] = tuple(KINDS)
    kills: int = 10
    nodes: int = 4
    seed: int = 1
    sample_s: float = 0.1
    command_every_s: float = 0.1
    may_lose: Collection[str] = ()


async def brokers(settings: BrokersSettings, folder: Path, say: Callable[[str], None]) -> Findings:
    found = Findings()
    for kind in settings.kinds:
        data = folder / kind
        data.mkdir()
        one = await BrokerSoak(settings, kind, data, say).run()
        found.violations += one.violations
        found.counts[kind] = one.counts
    return found


class BrokerSoak:
    """One kind."""

    def __init__(
        self, settings: BrokersSettings, kind: str, folder: Path, say: Callable[[str], None]
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._say = say
        self._rng = random.Random(f"{settings.seed} {kind}")  # noqa: S311 # seeded on purpose
        self._ports = Ports()
        self._broker: Broker = KINDS[kind](folder, self._ports)
        http = self._ports.take()
        self._http = CenterHttp(http)
        self._center = center_program(folder, http=http, mqtt=self._broker.mqtt)
        names = [f"node-{number:02}" for number in range(1, settings.nodes + 1)]
        self._agents = {
            name: agent_program(folder, name, self._broker.nodes_port, sample_s=settings.sample_s)
            for name in names
        }
        self._witness = Witness()
        self._listener = Listener(self._witness, self._broker.center_port, rng=self._rng)
        self._load = Load(self._http, names, folder, self._rng)
        self._kills = 0

    async def run(self) -> Findings:
        began_s = time.monotonic()
        async with self._all():
            await back(self._http, self._agents)
            loading = asyncio.create_task(self._load.run(self._settings.command_every_s))
            try:
                for _ in range(self._settings.kills):
                    await self._kill()
                self._load.end()
                await loading
            finally:
                loading.cancel()
            await back(self._http, self._agents)
            await ended(self._http, self._load)
            await stop(self._center, self._agents.values())
        check = Check(self._folder, list(self._agents), self._settings.may_lose)
        check.run(self._load, self._witness)
        counts: dict[str, Any] = {
            "kills": self._kills,
            "took_s": round(time.monotonic() - began_s, 1),
            "commands_given": len(self._load.given) + len(self._load.pings),
            "batches_heard_on_the_wire": self._listener.heard,
            **check.tally.plain(),
        }
        self._say(f"{self._broker.kind}: {counts}, {len(check.violations)} violations")
        return Findings(violations=check.violations, counts=counts)

    @contextlib.asynccontextmanager
    async def _all(self) -> AsyncIterator[None]:
        programs: list[Program] = [*self._agents.values(), self._center]
        try:
            await self._broker.start()
            self._center.start()
            await until(self._http.ready, "the center to be ready", within_s=READY_S)
            for agent in self._agents.values():
                agent.start()
            async with asyncio.TaskGroup() as background:
                listening = background.create_task(self._listener.run())
                looking = background.create_task(self._look())
                yield
                looking.cancel()
                await self._listener.close()
                await listening
        finally:
            for program in programs:
                program.kill()
            if self._broker.program is not None:
                self._broker.program.kill()
            await self._http.close()
            self._ports.close()

    async def _look(self) -> None:
        while True:
            if not self._listener.connected:
                for name in self._agents:
                    self._witness.lives(name, self._folder / name / "agent.db")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _kill(self) -> None:
        await asyncio.sleep(self._rng.uniform(*BETWEEN_S))
        before = {name: node["conn"] for name, node in (await self._http.nodes()).items()}
        if self._broker.program is None:
            self._center.kill()
        self._broker.kill_and_wipe()
        self._kills += 1
        await asyncio.sleep(self._rng.uniform(*AWAY_S))
        await self._broker.start()
        if self._broker.program is None:
            self._center.start()
        await until(self._http.ready, "the center to be ready", within_s=READY_S)

        async def connected() -> bool:
            nodes = await self._http.nodes()
            return len(nodes) == len(self._agents) and all(
                node["state"] == "online" and node["conn"] > before[name]
                for name, node in nodes.items()
            )

        await until(connected, "all nodes to be back over the new broker", within_s=READY_S)
        for program in (*self._agents.values(), self._center):
            if not program.running:
                raise SoakError(f"{program.name} ended by itself:\n{program.end_of_log()}")
        self._say(f"{self._broker.kind}: {self._kills} of {self._settings.kills} kills")
