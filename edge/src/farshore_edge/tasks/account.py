"""What is known and said of one instance: its state, moved by the lifecycle's table, told by events.

Every state is told, those that pass within ``QUIET_S`` by the next. It decides nothing.
"""

import asyncio
import logging
from dataclasses import replace
from typing import Any

from farshore_edge.tasks import engine
from farshore_edge.tasks.engine import Next
from farshore_edge.tasks.model import Kept
from farshore_edge.tasks.office import Office

log = logging.getLogger(__name__)

QUIET_S = 0.25

FRESH = dict.fromkeys(("code", "reason", "exit_code", "signal", "run_s"))
"""What is said of a run that has begun: nothing of the one before it."""

WHY = {
    "asked": "it was asked to stop",
    "lease_over": "its lease was not renewed in time",
    "superseded": "a newer grant has taken its place",
    "drained": "its node is drained",
    "preempted": "another task with a higher priority needs its place",
    "moved": "it was moved",
    "removed": "it is not this node's any more",
}


class Account:
    """``kept``: as it stands now. ``began_s``: the present run, by the clock of leases; ``again_s``: when
    it may be begun again, by the event loop's."""

    def __init__(self, kept: Kept, office: Office) -> None:
        self.kept = kept
        self.began_s = office.boot_s()
        self.again_s = 0.0
        self._office = office
        self._saying = asyncio.Lock()
        self._says: set[asyncio.Task[None]] = set()
        self._quiet: asyncio.TimerHandle | None = None
        self._noted = False

    def run_s(self) -> float:
        return max(0.0, self._office.boot_s() - self.began_s)

    # Its states

    def move(self, state: str, **more: Any) -> None:
        if self._noted:  # of the state that ends here
            more = {"reason": None, **more}
            self._noted = False
        self.kept = self.kept.moved(state, self._office.now_ms(), **more)

    def running(self) -> None:
        self.move("running", **FRESH)
        self.tell()

    def go_on(self, decided: tuple[Kept, Next]) -> None:
        """After a run, or after trouble."""
        kept, then = decided
        self.kept = replace(kept, trace=None, pid=None, healthy=None)
        self.move(then.state, code=then.code, reason=then.reason)
        self.again_s = asyncio.get_running_loop().time() + then.wait_s
        self.tell()

    def fail(self, code: str, reason: str) -> None:
        self.move("failed", code=code, reason=reason)
        self.tell()

    def stopped(self, **more: Any) -> None:
        """It has ended because it was to; ``more``: how its run ended, where there was one."""
        if self.kept.state == "starting" or (more and self.kept.state != "stopping"):
            self.move("stopping")
        reason = WHY.get(self.kept.stop or "", self.kept.stop)
        self.move("stopped", code=self.kept.stop, reason=reason, **more)
        self.tell()

    # Saying them

    def note(self, reason: str) -> None:
        """In the same state; the next report says it."""
        if self._noted and self.kept.reason == reason[: engine.REASON_CHARS]:
            return
        log.warning("a task does not go on", extra={"task": self.kept.id, "reason": reason})
        self.kept = replace(self.kept, reason=reason[: engine.REASON_CHARS])
        self._noted = True
        self._office.changed()

    def later(self) -> None:
        """Tells the state unless it is passed soon."""
        if self._quiet is None:
            self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self.tell)

    def tell(self) -> None:
        """The state as it is now, once, behind what was told before."""
        self.hush()
        kept, self.kept = self.kept, self.kept.spoken()
        task = asyncio.get_running_loop().create_task(self._say(kept), name=f"event of {kept.id}")
        self._says.add(task)
        task.add_done_callback(self._says.discard)

    async def _say(self, kept: Kept) -> None:
        async with self._saying:
            await self._office.tell(kept)

    def hush(self) -> None:
        """What was to be told later is not, unless somebody tells it."""
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None

    async def said(self) -> None:
        """Once all that was told is durable."""
        while self._says:
            await asyncio.wait(self._says)
