"""``restart-agent`` and ``reboot``: done once, and told by the start that follows.

What is to happen is pledged in the ledger first. If the agent or the machine dies at any moment after
that, nothing is done a second time; the next start looks whether it is a new one, and says so.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from farshore_protocol.codec import convert
from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import RebootArgs, RestartAgentArgs
from farshore_protocol.commands.catalogue.upkeep import RebootResult, RestartAgentResult

from farshore_edge.commands.verbs.model import Context, Outcome
from farshore_edge.errors import DatabaseError

log = logging.getLogger(__name__)

REBOOT_COMMAND_S = 60.0


class Power(Protocol):
    """Ending and beginning again: of this agent, and of its machine."""

    def boot_id(self) -> str | None:
        """Names the machine's present boot; None where that can't be known."""
        ...

    async def reboot(self, *, timeout_s: float) -> str | None:
        """Asks the machine to boot anew; why it will not, if that is known."""
        ...

    async def may_restart(self, *, timeout_s: float) -> str | None:
        """Why an agent that is started now would not run, if that is known."""
        ...

    def restart(self) -> None:
        """Soon the agent stops in an orderly way and is started anew."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pledge:
    """What the next start must know: who promised it, when on both clocks, and within what time.

    ``monotonic_s`` counts on within a boot of the machine, and means nothing in another.
    """

    boot: str
    boot_id: str | None
    at_ms: int
    monotonic_s: float
    within_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """``boot``: this start of the agent."""

    boot: str
    now_ms: Callable[[], int]
    monotonic_s: Callable[[], float]

    def pledge(self, boot_id: str | None, within_s: float) -> dict[str, Any]:
        return asdict(
            Pledge(
                boot=self.boot,
                boot_id=boot_id,
                at_ms=self.now_ms(),
                monotonic_s=self.monotonic_s(),
                within_s=within_s,
            )
        )


class RestartAgent:
    def __init__(self, power: Power, now: Now) -> None:
        self._power = power
        self._now = now

    async def __call__(self, args: RestartAgentArgs, context: Context) -> Outcome:
        why = await self._power.may_restart(timeout_s=context.timeout_s)
        if why is not None:
            return _failed("would_not_start", f"the agent was left running: {why}")
        try:
            await context.pledge(self._now.pledge(self._power.boot_id(), context.timeout_s))
        except DatabaseError as exc:
            return _unkept(exc)
        log.warning("the agent restarts", extra={"reason": args.reason})
        self._power.restart()
        await asyncio.sleep(context.timeout_s)
        return _failed("not_restarted", f"the agent is still running after {context.timeout_s:g} s")

    async def resume(self, pledge: dict[str, Any], _context: Context) -> Outcome:
        """Another start of the agent is the proof, however it came about."""
        before = convert(Pledge, pledge)
        down_s = self._down_s(before)
        result = RestartAgentResult(boot_before=before.boot, boot=self._now.boot, down_s=down_s)
        if down_s > before.within_s:
            message = f"the agent came back after {down_s:g} s, expected {before.within_s:g} s"
            return _failed("late", message, asdict(result))
        return Outcome(result=asdict(result))

    def _down_s(self, before: Pledge) -> float:
        if before.boot_id is not None and before.boot_id == self._power.boot_id():
            return round(max(0.0, self._now.monotonic_s() - before.monotonic_s), 3)
        return max(0, self._now.now_ms() - before.at_ms) / 1000


class Reboot:
    def __init__(self, power: Power, now: Now) -> None:
        self._power = power
        self._now = now

    async def __call__(self, args: RebootArgs, context: Context) -> Outcome:
        boot_id = self._power.boot_id()
        if boot_id is None:
            message = (
                "the machine does not say which boot this is, so that a new one could not be told"
            )
            return _failed("unsupported", message)
        word = self._now.pledge(boot_id, context.timeout_s)
        try:
            await context.pledge(word)
        except DatabaseError as exc:
            return _unkept(exc)
        log.warning("the machine reboots", extra={"reason": args.reason})
        why = await self._power.reboot(timeout_s=min(REBOOT_COMMAND_S, context.timeout_s))
        if why is not None:
            return _failed("reboot_failed", why)
        return await self._awaited(convert(Pledge, word))

    async def resume(self, pledge: dict[str, Any], _context: Context) -> Outcome:
        """In the same boot only the agent was started anew: the machine may still be going down."""
        return await self._awaited(convert(Pledge, pledge))

    async def _awaited(self, before: Pledge) -> Outcome:
        if (booted := self._booted(before)) is not None:
            return booted
        left_s = before.monotonic_s + before.within_s - self._now.monotonic_s()
        await asyncio.sleep(min(max(left_s, 0.0), before.within_s))
        message = (
            f"the machine has not booted anew within {before.within_s:g} s; "
            "it is not known to be going down, and is not asked again"
        )
        return self._booted(before) or _failed("not_rebooted", message)

    def _booted(self, before: Pledge) -> Outcome | None:
        boot_id = self._power.boot_id()
        if boot_id is None or before.boot_id is None or boot_id == before.boot_id:
            return None
        took_ms = self._now.now_ms() - before.at_ms
        result = RebootResult(
            boot_id_before=before.boot_id,
            boot_id=boot_id,
            down_s=took_ms / 1000 if took_ms >= 0 else None,
        )
        return Outcome(result=asdict(result))


def _unkept(exc: DatabaseError) -> Outcome:
    return _failed("ledger_unwritable", f"nothing was done, for it could not be recorded: {exc}")


def _failed(code: str, message: str, result: dict[str, Any] | None = None) -> Outcome:
    error = CommandError(code=code, message=message)
    return Outcome(state="failed", error=error, result=result)
