"""The power of a simulated machine: it restarts its agent and boots, and touches no real machine."""

import asyncio
from collections.abc import Awaitable, Callable

BOOT_S = 2.0
"""How long a simulated machine takes to boot."""

Renew = Callable[[float], Awaitable[None]]
"""Stops the agent in an orderly way and makes the next one, so many seconds later."""


class SimulatedPower:
    """Of one simulated machine, over all lives of its agent; ``draw`` names a boot."""

    def __init__(self, renew: Renew, draw: Callable[[], str]) -> None:
        self._renew = renew
        self._draw = draw
        self._boot_id = draw()
        self._renewing: asyncio.Task[None] | None = None

    def boot_id(self) -> str | None:
        return self._boot_id

    async def reboot(self, *, timeout_s: float) -> str | None:  # noqa: ARG002 # Power's interface
        self._boot_id = self._draw()
        self._begin(BOOT_S)
        # From here the machine is going down: nothing of this life tells the end.
        await asyncio.Event().wait()
        return None

    async def may_restart(self, *, timeout_s: float) -> str | None:  # noqa: ARG002 # Power's interface
        return None

    def restart(self) -> None:
        self._begin(0.0)

    def _begin(self, after_s: float) -> None:
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._life(after_s), name="restart")

    async def _life(self, after_s: float) -> None:
        await self._renew(after_s)

    async def off(self) -> None:
        """Nothing is started any more."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
