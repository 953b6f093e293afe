"""Starts a program, waits for its moment, kills it; again and again."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from concurrent.futures import Executor
from pathlib import Path

from soak.errors import SoakError
from soak.moment import After, Moment, choose
from soak.processes import Program
from soak.strike import FileWatch, Strike, strike, writing

LOOK_EVERY_S = 0.01
WRITE_WITHIN_S = 2.0


class Killer:
    """Of one program. ``word``: what it writes to its log when it has come up.

    ``patience_s``: an agent has no word to say while the center is dead, and is killed all the same.
    """

    def __init__(
        self,
        program: Program,
        *,
        word: bytes,
        database: Path,
        rng: random.Random,
        threads: Executor,
        patience_s: float,
    ) -> None:
        self.program = program
        self._word = word
        self._rng = rng
        self._threads = threads
        self._patience_s = patience_s
        database.parent.mkdir(parents=True, exist_ok=True)
        self._watch = FileWatch(database.with_name(database.name + "-wal"))
        self.moments: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.on_write = 0
        self.unheard = 0

    def close(self) -> None:
        self._watch.close()

    async def once(self) -> None:
        """One death of the running program. It has to be started again by the caller."""
        moment = choose(self._rng)
        if moment.after is not After.START and not await self._spoke():
            self.unheard += 1
        struck = await self._strike(moment)
        if self.program.reap() != -signal.SIGKILL:
            raise SoakError(f"{self.program.name} ended by itself:\n{self.program.end_of_log()}")
        self.moments[moment.after] += 1
        self.on_write += struck.on_write
        if struck.call is not None:
            self.calls[struck.call] += 1

    async def _spoke(self) -> bool:
        deadline_s = time.monotonic() + self._patience_s
        while not self.program.said(self._word):
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
