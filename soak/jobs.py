"""The center is killed in the middle of jobs; then every step is read back and held to the rules.

Real agents stay alive; a person, played here, makes jobs of all kinds and pauses, resumes, approves,
aborts and rolls back whatever is there, over every death.
"""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soak.fleet import back, stop
from soak.http import CenterHttp, until
from soak.jobs_check import JobsCheck
from soak.killer import Killer
from soak.moment import After, Habits
from soak.person import Person
from soak.processes import Ports, agent_program, center_program
from soak.violation import Findings

READY_S = 240.0
TELL_EVERY_S = 15.0
END_S = 600.0
HABITS = Habits(
    shares={After.START: 0.05, After.WORD: 0.15, After.WRITE: 0.6, After.LIFE: 0.2},
    start_s=(0.02, 1.5),
    writes=(1, 150),
    life_s=(0.3, 2.0),
)
"""Most of them a few writes after it came up: a job's steps are writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsSettings:
    """``limit_s``: no further kill is begun after it."""

    kills: int = 200
    nodes: int = 8
    seed: int = 1
    limit_s: float = 2400.0


class JobsSoak:
    def __init__(self, settings: JobsSettings, folder: Path, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._folder = folder
        self._say = say
        self._ports = Ports()
        self.names = [f"node-{number:02}" for number in range(1, settings.nodes + 1)]
        http, mqtt = self._ports.take(), self._ports.take()
        self._http = CenterHttp(http)
        self.effects = folder / "effects"
        self.person = Person(http, self.effects, self._rng("person"))
        self._threads = ThreadPoolExecutor(2)
        self._center = Killer(
            center_program(folder, http=http, mqtt=f"127.0.0.1:{mqtt}"),
            up=self._http.ready,
            habits=HABITS,
            database=folder / "center" / "center.db",
            rng=self._rng("center"),
            threads=self._threads,
            patience_s=READY_S,
        )
        self._agents = [agent_program(folder, name, mqtt, sample_s=5.0) for name in self.names]
        self._kills = 0
        self._started_s = 0.0

    def _rng(self, of: str) -> random.Random:
        return random.Random(f"{self._settings.seed} {of}")  # noqa: S311 # seeded on purpose

    async def run(self) -> Findings:
        self._started_s = time.monotonic()
        async with self._all():
            await back(self._http, self.names)
            await self._kill()
            killing_s = time.monotonic() - self._started_s
            self._say("all kills are done; the jobs come to their end")
            await back(self._http, self.names)
            await self.person.finish(END_S)
            await stop(self._center.program, self._agents)
        check = JobsCheck(self._folder / "center" / "center.db", self.effects)
        check.run(self.person.made)
        counts: dict[str, Any] = {
            "kills": self._kills,
            "kills_by_moment": _plain(self._center.moments),
            "kills_following_a_write": self._center.on_write,
            "kills_in_a_writing_call": _plain(self._center.calls),
            "kills_with_a_transaction_begun": self._center.torn,
            "killing_s": round(killing_s, 1),
            "took_s": round(time.monotonic() - self._started_s, 1),
            "calls_of_people": _plain(self.person.calls),
            **check.counts(),
        }
        return Findings(violations=check.violations, counts=counts)

    @contextlib.asynccontextmanager
    async def _all(self) -> AsyncIterator[None]:
        """The programs; whatever happens, none is left behind."""
        try:
            self._center.program.start()
            await until(self._http.ready, "the center to be ready", within_s=READY_S)
            for agent in self._agents:
                agent.start()
            yield
        finally:
            for program in (*self._agents, self._center.program):
                program.kill()
            self._center.close()
            self._threads.shutdown(wait=True)
            await self.person.close()
            await self._http.close()
            self._ports.close()

    async def _kill(self) -> None:
        telling = asyncio.create_task(self._tell())
        acting = asyncio.create_task(self.person.act())
        try:
            while self._kills < self._settings.kills and not self._over():
                self._kills += 1
                await self._center.once(self._center.draw())
                self._center.program.start()
                if acting.done():
                    await acting
            await until(self._http.ready, "the center to be ready", within_s=READY_S)
            self.person.end()
            await acting
        finally:
            telling.cancel()
            acting.cancel()

    def _over(self) -> bool:
        return time.monotonic() - self._started_s > self._settings.limit_s

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            seconds = time.monotonic() - self._started_s
            self._say(f"{seconds:.0f} s: {self._kills} kills, {len(self.person.made)} jobs made")


def _plain(counts: Counter[str]) -> dict[str, int]:
    return {str(name): count for name, count in sorted(counts.items())}
