"""``exec``: runs a program by its argument vector, never through a shell.

The program gets a process group of its own. At the timeout, or when the command is cancelled, the
whole group is sent SIGTERM and, after ``TERM_GRACE_S``, SIGKILL.
"""

import asyncio
import codecs
import contextlib
import os
import signal
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Literal

from farshore_protocol.commands import CommandError, Output
from farshore_protocol.commands.catalogue import ExecArgs

from farshore_edge.commands.verbs.model import Context, Outcome

TERM_GRACE_S = 2.0
LAST_WORDS_S = 2.0
CHUNK_BYTES = 12 * 1024
"""Of raw output in one report: even if JSON must escape every byte it stays below 100 KB."""


@dataclass(slots=True)
class _Capture:
    """One output stream of a program: decoded as UTF-8, cut at the limit, counted in bytes."""

    stream: Literal["stdout", "stderr"]
    budget: "_Budget"
    context: Context
    offset: int = 0
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    async def drain(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK_BYTES):
            kept = self.budget.take(data)
            text = self.decoder.decode(kept)
            if text:
                await self.context.emit(Output(offset=self.offset, stream=self.stream, text=text))
            self.offset += len(kept)
        rest = self.decoder.decode(b"", final=True)
        if rest:
            await self.context.emit(Output(offset=self.offset, stream=self.stream, text=rest))


@dataclass(slots=True)
class _Budget:
    left: int
    cut: int = 0

    def take(self, data: bytes) -> bytes:
        kept = data[: self.left]
        self.left -= len(kept)
        self.cut += len(data) - len(kept)
        return kept


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    """The agent's environment without the agent's own settings, plus what was asked for."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith("FARSHORE_")}
    return {**mine, **(extra or {})}


async def run(args: ExecArgs, context: Context) -> Outcome:
    try:
        process = await asyncio.create_subprocess_exec(
            *args.argv,
            cwd=args.cwd,
            env=_environment(args.env),
            stdin=asyncio.subprocess.PIPE if args.stdin is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        message = f"{args.argv[0]}: can't be started: {reason}"
        return Outcome(state="failed", error=CommandError(code="not_started", message=message))
    budget = _Budget(left=context.output_max_bytes)
    talk = asyncio.gather(_feed(process, args.stdin), *_drains(process, budget, context))
    try:
        await asyncio.wait_for(process.wait(), context.timeout_s)
    except TimeoutError:
        await _end_group(process)
        await _last_words(talk)
        message = f"still running after {context.timeout_s:g} s; its process group was ended"
        return Outcome(
            state="timed_out",
            result=_result(process, budget),
            error=CommandError(code="timed_out", message=message),
        )
    except asyncio.CancelledError:
        await _end_group(process)
        talk.cancel()
        raise
    # What the program left behind in its group does not outlive the command.
    _signal_group(process.pid, signal.SIGKILL)
    await _last_words(talk)
    result = _result(process, budget)
    if process.returncode == 0:
        return Outcome(result=result)
    how = (
        f"exit code {result['exit_code']}"
        if result["signal"] is None
        else f"ended by signal {result['signal']}"
    )
    return Outcome(state="failed", result=result, error=CommandError(code="exit", message=how))


def _drains(
    process: asyncio.subprocess.Process, budget: _Budget, context: Context
) -> list[Coroutine[None, None, None]]:
    drains = []
    if process.stdout is not None:
        drains.append(_Capture("stdout", budget, context).drain(process.stdout))
    if process.stderr is not None:
        drains.append(_Capture("stderr", budget, context).drain(process.stderr))
    return drains


async def _last_words(talk: "asyncio.Future[list[None]]") -> None:
    """What is still in the pipes; a process that fled from the group may hold them open for ever."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(talk, LAST_WORDS_S)


def _result(process: asyncio.subprocess.Process, budget: _Budget) -> dict[str, object]:
    code = process.returncode
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


async def _feed(process: asyncio.subprocess.Process, text: str | None) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write((text or "").encode())
        await process.stdin.drain()
    process.stdin.close()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


async def _end_group(process: asyncio.subprocess.Process) -> None:
    _signal_group(process.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), TERM_GRACE_S)
    except TimeoutError:
        pass
    finally:
        _signal_group(process.pid, signal.SIGKILL)
