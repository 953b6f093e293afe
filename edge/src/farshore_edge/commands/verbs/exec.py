"""``exec``: runs a program by its argument vector, never through a shell.

The program gets a process group of its own, which ends with the command: at the timeout or when
the command is cancelled by SIGTERM and, a little later, SIGKILL; what is left of the group when the
program itself ends, by SIGKILL. What has left the group (a daemon) lives on where the program ended by
itself, and is ended with it otherwise.
"""

import asyncio
import contextlib
import os
import signal
from typing import Any

from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import ExecArgs

from farshore_edge.commands.verbs.capture import Budget, Capture
from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.commands.verbs.limits import (
    EARLY_S,
    Limits,
    Use,
    by_signal,
    exceeded,
    impose,
    impose_on_family,
    lowered,
)
from farshore_edge.commands.verbs.model import Context, Handler, Outcome
from farshore_edge.commands.verbs.program import Program, start
from farshore_edge.commands.verbs.table import childless
from farshore_edge.settings import ENV_PREFIX

LAST_WORDS_S = 2.0
NEAR = 0.75
"""From this share of its memory a failed program is said to have been near its limit."""


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    """The agent's environment without the agent's own settings, plus what was asked for."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
    return {**mine, **(extra or {})}


def execution(limits: Limits, guard: Guard) -> Handler:
    async def handle(args: ExecArgs, context: Context) -> Outcome:
        mine = lowered(limits, args)
        if isinstance(mine, str):
            return Outcome(state="failed", error=CommandError(code="bad_args", message=mine))
        return await run(args, context, limits=mine, guard=guard)

    return handle


async def run(
    args: ExecArgs, context: Context, *, limits: Limits | None = None, guard: Guard | None = None
) -> Outcome:
    stdin = None if args.stdin is None else args.stdin.encode()
    try:
        program = await start(
            args.argv,
            cwd=args.cwd,
            env=_environment(args.env),
            stdin=stdin,
            guard=guard,
            command=context.command_id,
        )
    except (OSError, ValueError) as exc:
        message = f"{args.argv[0]}: can't be started: {_why(exc)}"
        return Outcome(state="failed", error=CommandError(code="not_started", message=message))
    budget = Budget(left=context.output_max_bytes)
    talk = asyncio.gather(
        Capture("stdout", budget, context.emit).drain(program.stdout),
        Capture("stderr", budget, context.emit).drain(program.stderr),
    )
    try:
        watched = _Watched(program, talk, budget, limits or Limits(), context.timeout_s)
        return await watched.outcome()
    except BaseException:
        await program.end_all()
        raise
    finally:
        program.close()
        talk.cancel()
        await asyncio.wait([talk])
        if not talk.cancelled():
            talk.exception()  # it was raised above, or the cancellation is the word that counts


class _Watched:
    """A program until its end, whoever brings it about."""

    def __init__(
        self,
        program: Program,
        talk: "asyncio.Future[tuple[None, None]]",
        budget: Budget,
        limits: Limits,
        timeout_s: float,
    ) -> None:
        self._program = program
        self._talk = talk
        self._budget = budget
        self._limits = limits
        self._timeout_s = timeout_s
        self._peak = [Use()]

    async def outcome(self) -> Outcome:
        pid = self._program.pid
        impose(pid, self._limits)
        if not childless(pid):
            await asyncio.to_thread(impose_on_family, pid, self._limits)
        early_s = min(EARLY_S, self._timeout_s)
        if await self._program.exited_within(early_s):  # most do, and nobody need look after them
            return await self._exited()
        return await self._watched(self._timeout_s - early_s)

    async def _watched(self, timeout_s: float) -> Outcome:
        passing = asyncio.create_task(exceeded(self._program.pid, self._limits, self._peak))
        exiting = asyncio.create_task(self._program.exited.wait())
        both: set[asyncio.Task[Any]] = {passing, exiting}
        try:
            await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if exiting.done():
                return await self._exited()
            if passing.done():
                return await self._ended("failed", "limit", self._by_limit(passing.result()))
            message = f"still running after {self._timeout_s:g} s; its process group was ended"
            return await self._ended("timed_out", "timed_out", message)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)

    async def _exited(self) -> Outcome:
        self._program.signal_group(signal.SIGKILL)
        await _last_words(self._talk)
        result = _result(self._program, self._budget)
        if self._program.returncode == 0:
            return Outcome(result=result)
        which = by_signal(self._limits, self._program.returncode)
        if which is not None:
            error = CommandError(code="limit", message=self._by_limit(which))
            return Outcome(state="failed", result=result, error=error)
        how = (
            f"exit code {result['exit_code']}"
            if result["signal"] is None
            else f"ended by signal {result['signal']}"
        ) + self._maybe_memory()
        return Outcome(state="failed", result=result, error=CommandError(code="exit", message=how))

    def _maybe_memory(self) -> str:
        """Who gets no more memory ends in its own way; that it was near its limit is all we know."""
        limit, peak = self._limits.memory_bytes, self._peak[0].memory_bytes
        near = limit and peak > limit * NEAR
        return f"; it used {peak} of the {limit} bytes of memory that it may" if near else ""

    async def _ended(self, state: str, code: str, message: str) -> Outcome:
        await self._program.end_all()
        await _last_words(self._talk)
        error = CommandError(code=code, message=message)
        return Outcome(state=state, result=_result(self._program, self._budget), error=error)

    @staticmethod
    def _by_limit(which: str) -> str:
        return f"ended by its limit of {which}"


def _why(exc: OSError | ValueError) -> str:
    """``OSError`` names the file that is missing, which may be the working directory."""
    if isinstance(exc, OSError) and exc.strerror:
        return f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror
    return str(exc)


async def _last_words(talk: "asyncio.Future[tuple[None, None]]") -> None:
    """What is still in the pipes; a process that fled from the group may hold them open for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LAST_WORDS_S):
            await talk


def _result(program: Program, budget: Budget) -> dict[str, object]:
    code = program.returncode
    result: dict[str, object] = {
        "exit_code": code if code is not None and code >= 0 else None,
        "signal": _signal_name(-code) if code is not None and code < 0 else None,
    }
    if budget.cut:
        result["output_cut_bytes"] = budget.cut
    return result


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
