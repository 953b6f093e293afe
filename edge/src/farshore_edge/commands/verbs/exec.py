"""``exec``: runs a program by its argument vector, never through a shell.

The program gets a process group of its own, which ends with the command: at the timeout or when
the command is cancelled by SIGTERM and, a little later, SIGKILL; what is left of the group when the
program itself ends, by SIGKILL. Only what has left the group (a daemon) lives on.
"""

import asyncio
import contextlib
import os
import signal

from farshore_protocol.commands import CommandError
from farshore_protocol.commands.catalogue import ExecArgs

from farshore_edge.commands.verbs.capture import Budget, Capture
from farshore_edge.commands.verbs.model import Context, Outcome
from farshore_edge.commands.verbs.program import Program, start
from farshore_edge.settings import ENV_PREFIX

LAST_WORDS_S = 2.0


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    """The agent's environment without the agent's own settings, plus what was asked for."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)}
    return {**mine, **(extra or {})}


async def run(args: ExecArgs, context: Context) -> Outcome:
    stdin = None if args.stdin is None else args.stdin.encode()
    try:
        program = await start(args.argv, cwd=args.cwd, env=_environment(args.env), stdin=stdin)
    except (OSError, ValueError) as exc:
        message = f"{args.argv[0]}: can't be started: {_why(exc)}"
        return Outcome(state="failed", error=CommandError(code="not_started", message=message))
    budget = Budget(left=context.output_max_bytes)
    talk = asyncio.gather(
        Capture("stdout", budget, context.emit).drain(program.stdout),
        Capture("stderr", budget, context.emit).drain(program.stderr),
    )
    try:
        return await _watch(program, talk, budget, context.timeout_s)
    except BaseException:
        await program.end_group()
        raise
    finally:
        program.close()
        talk.cancel()
        await asyncio.wait([talk])
        if not talk.cancelled():
            talk.exception()  # it was raised above, or the cancellation is the word that counts


async def _watch(
    program: Program, talk: "asyncio.Future[tuple[None, None]]", budget: Budget, timeout_s: float
) -> Outcome:
    try:
        async with asyncio.timeout(timeout_s):
            await program.exited.wait()
    except TimeoutError:
        await program.end_group()
        await _last_words(talk)
        message = f"still running after {timeout_s:g} s; its process group was ended"
        return Outcome(
            state="timed_out",
            result=_result(program, budget),
            error=CommandError(code="timed_out", message=message),
        )
    program.signal_group(signal.SIGKILL)
    await _last_words(talk)
    result = _result(program, budget)
    if program.returncode == 0:
        return Outcome(result=result)
    how = (
        f"exit code {result['exit_code']}"
        if result["signal"] is None
        else f"ended by signal {result['signal']}"
    )
    return Outcome(state="failed", result=result, error=CommandError(code="exit", message=how))


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
