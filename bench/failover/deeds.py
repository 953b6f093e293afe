"""What is done to nodes and to runs, and how long it takes until the work runs again."""

import asyncio
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.errors import BenchError
from bench.failover.journal import Began, Key
from bench.failover.stage import Group, Stage

WITHIN_S = 60.0
LOOK_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One instance whose node was killed. ``way``: ``killed`` (the broker sees the connection end, and
    says the node's will) or ``frozen`` (it stays open, and nothing is said). ``epoch``: of the grant that
    died; ``at_ms``: of the deed, on the wall clock; the others are of the monotonic one."""

    way: str
    key: Key
    epoch: int
    killed_s: float
    at_ms: float
    began_s: float

    @property
    def took_s(self) -> float:
        return self.began_s - self.killed_s


@dataclass(slots=True, kw_only=True)
class _Deed:
    way: str
    group: Group
    killed_s: float
    at_ms: float
    missing: dict[Key, Began]
    found: list[Moved] = field(default_factory=list)


class Deeds:
    """``pause_s``: on the average between two deeds, each at a moment of its own."""

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self._stage = stage
        self._rng = rng
        self._open: list[_Deed] = []

    async def kill_nodes(self, victims: Sequence[tuple[Group, str]], pause_s: float) -> list[Moved]:
        """Groups and how each is killed, one after the other; each is begun anew when its work runs
        elsewhere."""
        done: list[Moved] = []
        for group, way in victims:
            await self._settle(done, self._rng.uniform(0.2, 1.8) * pause_s)
            self._do(group, way)
        deadline_s = time.monotonic() + WITHIN_S
        while self._open:
            await self._settle(done, LOOK_S)
            if time.monotonic() > deadline_s:
                missing = [began.id for deed in self._open for began in deed.missing.values()]
                raise BenchError(f"not again at work within {WITHIN_S:g} s: {missing[:5]}")
        return done

    def _do(self, group: Group, way: str) -> None:
        self._stage.journal.follow()
        held = {began.key: began for name in group.names for began in self._stage.journal.on(name)}
        self._stage.signal(group, signal.SIGKILL if way == "killed" else signal.SIGSTOP)
        now_s, now_ms = time.monotonic(), time.time() * 1000
        self._open.append(_Deed(way=way, group=group, killed_s=now_s, at_ms=now_ms, missing=held))

    async def _settle(self, done: list[Moved], for_s: float) -> None:
        """Waits so long, and takes down what began meanwhile."""
        until_s = time.monotonic() + for_s
        while True:
            for began in self._stage.journal.follow():
                self._take(began)
            for deed in [deed for deed in self._open if not deed.missing]:
                self._open.remove(deed)
                done += deed.found
                if deed.way != "killed":
                    self._stage.signal(deed.group, signal.SIGKILL)
                await self._stage.begin(deed.group)
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(min(left_s, LOOK_S))

    def _take(self, began: Began) -> None:
        for deed in self._open:
            before = deed.missing.get(began.key)
            if before is not None and began.epoch > before.epoch:
                del deed.missing[began.key]
                deed.found.append(
                    Moved(
                        way=deed.way,
                        key=began.key,
                        epoch=before.epoch,
                        killed_s=deed.killed_s,
                        at_ms=deed.at_ms,
                        began_s=began.at_s,
                    )
                )

    async def kill_runs(self, groups: Sequence[Group], count: int, pause_s: float) -> list[float]:
        """Seconds until each of them ran again, at the same node; one after the other, without waiting."""
        stage = self._stage
        stage.journal.follow()
        runs = [
            (group, began)
            for group in groups
            for name in group.names
            for began in stage.journal.on(name)
        ]
        killed_s: dict[str, float] = {}
        took: list[float] = []
        for group, began in self._rng.sample(runs, min(count, len(runs))):
            await self._runs_again(killed_s, took, self._rng.uniform(0.2, 1.8) * pause_s)
            if stage.journal.newest[began.key] == began:  # else it was moved meanwhile
                killed_s[began.id] = time.monotonic()
                stage.kill_run(group, began.id)
        deadline_s = time.monotonic() + WITHIN_S
        while killed_s:
            await self._runs_again(killed_s, took, LOOK_S)
            if time.monotonic() > deadline_s:
                missing = sorted(killed_s)[:5]
                raise BenchError(f"killed, and not again at work within {WITHIN_S:g} s: {missing}")
        return took

    async def _runs_again(
        self, killed_s: dict[str, float], took: list[float], for_s: float
    ) -> None:
        await asyncio.sleep(for_s)
        for began in self._stage.journal.follow():
            since_s = killed_s.get(began.id)
            if since_s is not None and began.at_s > since_s:
                took.append(began.at_s - killed_s.pop(began.id))
