"""Agents and the center are killed a thousand times, under load; then every promise is checked."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farshore_edge.outbox.outbox import DIED

from soak.check import Check
from soak.fleet import back, ended, stop
from soak.http import CenterHttp, until
from soak.killer import Killer
from soak.load import Load
from soak.moment import AGENT, CENTER, After
from soak.processes import Ports, agent_program, center_program
from soak.violation import Findings
from soak.witness import Listener, Witness

READY_S = 60.0
TELL_EVERY_S = 15.0
AHEAD = 0.05
"""Of all kills that agents may be ahead of the center."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillsSettings:
    """``limit_s``: no further kill is begun after it; ``may_lose``: reasons of declared losses of
    metrics that a killed agent may have."""

    agent_kills: int = 1000
    center_kills: int = 200
    nodes: int = 10
    seed: int = 1
    sample_s: float = 0.2
    command_every_s: float = 0.2
    limit_s: float = 1800.0
    may_lose: Collection[str] = (DIED,)


class KillsSoak:
    def __init__(self, settings: KillsSettings, folder: Path, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._folder = folder
        self._say = say
        self._ports = Ports()
        self.names = [f"node-{number:02}" for number in range(1, settings.nodes + 1)]
        http, mqtt = self._ports.take(), self._ports.take()
        self._http = CenterHttp(http)
        self.witness = Witness()
        self._listener = Listener(self.witness, mqtt, rng=self._rng("listener"))
        self.load = Load(self._http, self.names, folder, self._rng("load"))
        self._threads = ThreadPoolExecutor(settings.nodes + 1)
        self._center = Killer(
            center_program(folder, http=http, mqtt=f"127.0.0.1:{mqtt}"),
            up=self._http.ready,
            habits=CENTER,
            database=folder / "center" / "center.db",
            rng=self._rng("center"),
            threads=self._threads,
            patience_s=READY_S,
        )
        self._agents = {name: self._agent(name, mqtt) for name in self.names}
        self._agent_kills = self._center_kills = 0
        self._started_s = 0.0
        self._kills_s = 0.0

    def _rng(self, of: str) -> random.Random:
        return random.Random(f"{self._settings.seed} {of}")  # noqa: S311 # seeded on purpose

    def _agent(self, name: str, port: int) -> Killer:
        program = agent_program(self._folder, name, port, sample_s=self._settings.sample_s)

        async def up() -> bool:
            return program.said(b": connected ")

        return Killer(
            program,
            up=up,
            habits=AGENT,
            database=self._folder / name / "agent.db",
            rng=self._rng(name),
            threads=self._threads,
            patience_s=4.0,
        )

    async def run(self) -> Findings:
        self._started_s = time.monotonic()
        async with self._all():
            await back(self._http, self.names)  # a command is for a node that is known
            for killer in self._agents.values():
                killer.program.kill()
            await self._kill()
            self._say("all kills are done; nodes come back, commands end")
            await back(self._http, self.names)
            await ended(self._http, self.load)
            await stop(self._center.program, [killer.program for killer in self._agents.values()])
        check = Check(self._folder, self.names, self._settings.may_lose)
        check.run(self.load, self.witness)
        return Findings(violations=check.violations, counts=self._counts(check))

    @contextlib.asynccontextmanager
    async def _all(self) -> AsyncIterator[None]:
        """The programs; whatever happens, none is left behind."""
        try:
            self._center.program.start()
            await until(self._http.ready, "the center to be ready", within_s=READY_S)
            for agent in self._agents.values():
                agent.program.start()
            async with asyncio.TaskGroup() as background:
                listening = background.create_task(self._listener.run())
                yield
                await self._listener.close()
                await listening
        finally:
            for killer in (*self._agents.values(), self._center):
                killer.program.kill()
                killer.close()
            self._threads.shutdown(wait=True)
            await self._http.close()
            self._ports.close()

    # Killing

    async def _kill(self) -> None:
        """All at the same time: agents, center, commands, progress."""
        telling = asyncio.create_task(self._tell())
        try:
            async with asyncio.TaskGroup() as group:
                loading = group.create_task(self.load.run(self._settings.command_every_s))
                killing = [group.create_task(self._kill_agent(k)) for k in self._agents.values()]
                killing.append(group.create_task(self._kill_center()))
                await asyncio.gather(*killing)
                self._kills_s = time.monotonic() - self._started_s
                self.load.end()
                await loading
        finally:
            telling.cancel()

    def _over(self) -> bool:
        return time.monotonic() - self._started_s > self._settings.limit_s

    async def _kill_agent(self, killer: Killer) -> None:
        name = killer.program.name
        # Whoever is quicker kills more often; the sum is what was asked for.
        while self._agent_kills < self._settings.agent_kills and not self._over():
            self._agent_kills += 1
            moment = killer.draw()
            if moment.after is After.START:  # its time runs from there
                await self._pace()
            killer.program.start()
            await self._pace()
            await killer.once(moment)
            self.witness.died(name, self._folder / name / "agent.db")
        killer.program.start()

    async def _pace(self) -> None:
        """Agents die faster than the center comes up; both are to die all along."""
        center = self._settings.center_kills
        while self._center_kills < center and not self._over():
            ahead = self._agent_kills / self._settings.agent_kills - self._center_kills / center
            if ahead < AHEAD:
                return
            await asyncio.sleep(0.05)

    async def _kill_center(self) -> None:
        while self._center_kills < self._settings.center_kills and not self._over():
            self._center_kills += 1
            await self._center.once(self._center.draw())
            self._center.program.start()
        await until(self._http.ready, "the center to be ready", within_s=READY_S)

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            seconds = time.monotonic() - self._started_s
            kills = self._agent_kills + self._center_kills
            self._say(
                f"{seconds:.0f} s: {self._agent_kills} agent and {self._center_kills} center "
                f"kills, {60 * kills / seconds:.0f} a minute; {len(self.load.given)} commands, "
                f"{self._listener.heard} batches heard, "
                f"{len(self.witness.violations)} violations so far"
            )

    def _counts(self, check: Check) -> dict[str, Any]:
        agents = self._agents.values()
        witness = self.witness

        def total(of: str) -> dict[str, int]:
            sums: Counter[str] = Counter()
            for killer in agents:
                sums.update(getattr(killer, of))
            return _plain(sums)

        kills = self._agent_kills + self._center_kills
        return {
            "agent_kills": self._agent_kills,
            "agent_kills_by_moment": total("moments"),
            "agent_kills_following_a_write": sum(killer.on_write for killer in agents),
            "agent_kills_in_a_writing_call": total("calls"),
            "agent_kills_with_a_transaction_begun": sum(killer.torn for killer in agents),
            "agent_kills_with_records_unacknowledged": witness.deaths_with_records,
            "agent_kills_before_it_had_connected": sum(killer.unheard for killer in agents),
            "center_kills": self._center_kills,
            "center_kills_by_moment": _plain(self._center.moments),
            "center_kills_following_a_write": self._center.on_write,
            "center_kills_in_a_writing_call": _plain(self._center.calls),
            "center_kills_with_a_transaction_begun": self._center.torn,
            "kills_per_minute": round(60 * kills / self._kills_s, 1),
            "killing_s": round(self._kills_s, 1),
            "took_s": round(time.monotonic() - self._started_s, 1),
            "commands_given": len(self.load.given) + len(self.load.pings),
            "batches_heard_on_the_wire": self._listener.heard,
            **check.tally.plain(),
        }


def _plain(counts: Counter[str]) -> dict[str, int]:
    return {str(name): count for name, count in sorted(counts.items())}
