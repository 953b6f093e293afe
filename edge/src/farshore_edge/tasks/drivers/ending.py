"""The end of a process that need not be one's own child, and the end of all that a run consists of."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable

from farshore_edge.commands.verbs.table import (
    Seen,
    descendants,
    family,
    lives,
    marked,
    process,
    processes,
    tell,
)

POLL_S = 0.1
KILL_ROUNDS = 250
PAUSE_S = 0.02


class Gone:
    """``event`` is set once exactly this process, by number and start, has ended. Only its descriptor is
    held: nothing is done to it."""

    def __init__(self, pid: int, started: int) -> None:
        self.event = asyncio.Event()
        self._pid = pid
        self._started = started
        self._loop = asyncio.get_running_loop()
        self._handle: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        try:
            self._handle = os.pidfd_open(pid)
        except ProcessLookupError:
            self._end()
            return
        except (OSError, AttributeError):  # an old kernel, a sandbox
            self._poll()
            return
        seen = process(pid)
        if seen is None or seen.started != started:
            self._end()
            return
        self._loop.add_reader(self._handle, self._end)

    def _poll(self) -> None:
        seen = process(self._pid)
        if seen is None or seen.started != self._started:
            self._end()
        else:
            self._timer = self._loop.call_later(POLL_S, self._poll)

    def _end(self) -> None:
        self.close()
        # It may be a child of this process, also one from before an ``execv`` of it.
        with contextlib.suppress(OSError):
            os.waitpid(self._pid, os.WNOHANG)
        self.event.set()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._handle is not None:
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = None


def members(leader: Seen | None, mark: str, caged: frozenset[int] | None) -> list[Seen]:
    """Who is of a run: in its cage, in the session of its first process where that lives still, with
    its mark, and whoever descends from these."""
    table = processes()
    found = {pid for pid in (caged or frozenset()) | marked(mark) if pid in table}
    if leader is not None and lives(leader):
        found |= family(table, leader.pid)
    return [table[pid] for pid in sorted(descendants(table, found) - {0, 1, os.getpid()})]


async def kill_all(look: Callable[[], list[Seen]]) -> list[Seen]:
    """SIGKILL until nobody is found; who is left nevertheless."""
    left: list[Seen] = []
    for _ in range(KILL_ROUNDS):
        left = await asyncio.to_thread(look)
        if not left:
            break
        for seen in left:
            tell(seen, signal.SIGKILL)
        await asyncio.sleep(PAUSE_S)
    return left
