"""A process that was started, or found again."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Any

from farshore_edge.commands.verbs.table import Seen, lives, own_memory_bytes, process
from farshore_edge.tasks.drivers import ending
from farshore_edge.tasks.drivers.limits.model import Cage
from farshore_edge.tasks.drivers.model import DriverError, Exit, Usage, Work
from farshore_edge.tasks.drivers.process.run_files import Begun, exit_of, mark_of

LAST_WORDS_S = 5.0
"""For a shim to go, after its program has."""


class ProcessRun:
    """``begun`` is None, and ``gone`` with it, where its end was found already."""

    def __init__(self, work: Work, cage: Cage, begun: Begun | None, number: int) -> None:
        self._work = work
        self._cage = cage
        self._begun = begun
        self._number = number
        self._gone = None if begun is None else ending.Gone(begun.shim_pid, begun.shim_started)
        self._leader = None if begun is None else process(begun.pid)
        if self._leader is not None and begun is not None and self._leader.started != begun.started:
            self._leader = None

    @property
    def trace(self) -> Mapping[str, Any]:
        return {} if self._begun is None else {"pid": self._begun.pid, "number": self._number}

    @property
    def pid(self) -> int | None:
        return None if self._begun is None else self._begun.pid

    async def wait(self) -> Exit:
        if self._gone is not None:
            await self._gone.event.wait()
        end = exit_of(self._work.state, self._number)
        if end is None:  # the shim was killed: nobody looks after the rest any more
            await self.kill()
        oom = self._cage.was_oom()
        self._cage.remove()
        return Exit(
            exit_code=end.exit_code if end else None, signal=end.signal if end else None, oom=oom
        )

    async def stop(self, signal: str, grace_s: float) -> Exit:
        if self._gone is None or self._gone.event.is_set():
            return await self.wait()
        self._tell(signal)
        if not await self._within(grace_s):
            await self.kill()
            if not await self._within(LAST_WORDS_S):
                raise DriverError("not_ended", f"{self._who()} does not end, not even by SIGKILL")
        return await self.wait()

    def _tell(self, name: str) -> None:
        leader = self._leader
        if leader is not None and lives(leader):
            with contextlib.suppress(OSError):
                os.killpg(leader.pid, getattr(signal, name, signal.SIGTERM))

    async def _within(self, seconds: float) -> bool:
        if self._gone is None:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._gone.event.wait()
        return self._gone.event.is_set()

    async def kill(self) -> None:
        own = set() if self._begun is None else {self._begun.shim_pid}

        def look() -> list[Seen]:
            self._cage.kill()  # all at once, where the kernel can; then one by one who is left
            found = ending.members(self._leader, mark_of(self._work), self._cage.pids())
            return [seen for seen in found if seen.pid not in own]

        left = await ending.kill_all(look)
        if left:
            names = ", ".join(f"{seen.name} (pid {seen.pid})" for seen in left)
            raise DriverError("not_ended", f"{names}: not ended, not even by SIGKILL")

    def _who(self) -> str:
        return f"pid {self.pid}"

    async def usage(self) -> Usage | None:
        if (found := self._cage.usage()) is not None:
            return found
        return await asyncio.to_thread(self._counted)

    def _counted(self) -> Usage | None:
        if self._leader is None or not lives(self._leader):
            return None
        seen = ending.members(self._leader, mark_of(self._work), self._cage.pids())
        own = -1 if self._begun is None else self._begun.shim_pid
        pids = [each for each in seen if each.pid != own]
        return Usage(
            cpu_s=sum(each.cpu_s for each in pids),
            memory_bytes=own_memory_bytes(each.pid for each in pids),
        )
