"""Starts a program, waits for its moment, kills it; again and again."""

import asyncio
import contextlib
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path

from soak.errors import SoakError
from soak.moment import After, Habits, Moment, choose
from soak.processes import Program
from soak.strike import FileWatch, Strike, strike, writing
from soak.wal import begun_frames

LOOK_EVERY_S = 0.01
WRITE_WITHIN_S = 2.0


class Killer:
    """Of one program. ``up``: whether it has come up; it is asked again and again.

    ``patience_s``: an agent can't connect while the center is dead, and is killed all the same.
    """

    def __init__(
        self,
        program: Program,
        *,
        up: Callable[[], Awaitable[bool]],
        habits: Habits,
        database: Path,
        rng: random.Random,
        threads: Executor,
        patience_s: float,
    ) -> None:
        self.program = program
        self._up = up
        self._habits = habits
        self._rng = rng
        self._threads = threads
        self._patience_s = patience_s
        database.parent.mkdir(parents=True, exist_ok=True)
        self.write_ahead = database.with_name(database.name + "-wal")
        self._watch = FileWatch(self.write_ahead)
        self.moments: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.on_write = 0
        self.torn = 0
        self.unheard = 0

    def close(self) -> None:
        self._watch.close()

    def draw(self) -> Moment:
        """When the next death is to come."""
        return choose(self._rng, self._habits)

    async def once(self, moment: Moment) -> None:
        """One death of the running program. It has to be started again by the caller."""
        if moment.after is not After.START and not await self._came_up():
            self.unheard += 1
        struck = await self._strike(moment)
        if self.program.reap() != -signal.SIGKILL:
            raise SoakError(f"{self.program.name} ended by itself:\n{self.program.end_of_log()}")
        self.moments[moment.after] += 1
        self.on_write += struck.on_write
        with contextlib.suppress(FileNotFoundError):
            self.torn += bool(begun_frames(self.write_ahead.read_bytes()))
        if struck.call is not None:
            self.calls[struck.call] += 1

    async def _came_up(self) -> bool:
        deadline_s = time.monotonic() + self._patience_s
        while not await self._up():
            if time.monotonic() > deadline_s or not self.program.running:
                return False
            await asyncio.sleep(LOOK_EVERY_S)
        return True

    async def _strike(self, moment: Moment) -> Strike:
        if moment.after is After.WRITE:
            pid = self.program.pid
            waiting = asyncio.get_running_loop().run_in_executor(
                self._threads,
                lambda: strike(
                    pid,
                    self._watch,
                    writes=moment.writes,
                    lag_s=moment.wait_s,
                    within_s=WRITE_WITHIN_S,
                ),
            )
            return await waiting
        if moment.after is After.START:
            passed_s = time.monotonic() - self.program.started_s
            await asyncio.sleep(max(0.0, moment.wait_s - passed_s))
        else:
            await asyncio.sleep(moment.wait_s)
        call = writing(self.program.pid)
        os.kill(self.program.pid, signal.SIGKILL)
        return Strike(on_write=False, call=call)
