"""What ``exec`` finds on a simulated node: a few programs that do nothing to the host machine."""

import asyncio
from collections.abc import Callable
from typing import Any

from farshore_edge.commands.verbs import Context, Outcome
from farshore_protocol.commands import CommandError, Output
from farshore_protocol.commands.catalogue import ExecArgs


class Programs:
    """``exec`` for one simulated node: the verb's contract, without a process."""

    def __init__(self, node: str, facts: Callable[[], dict[str, Any]], up_s: Callable[[], float]):
        self._node = node
        self._facts = facts
        self._up_s = up_s

    async def run(self, args: ExecArgs, context: Context) -> Outcome:
        program, *rest = args.argv
        match program.rsplit("/", 1)[-1]:
            case "echo":
                return _wrote(" ".join(rest))
            case "hostname":
                return _wrote(self._node)
            case "uname":
                facts = self._facts()
                return _wrote(f"Linux {facts.get('kernel', {}).get('release', '')}".strip())
            case "uptime":
                return _wrote(f"up {self._up_s():.0f} s")
            case "true":
                return Outcome(result={"exit_code": 0, "signal": None})
            case "false":
                return _failed(1)
            case "sleep":
                return await self._sleep(rest, context)
        message = f"{program}: can't be started: a simulated node has no such program"
        return Outcome(state="failed", error=CommandError(code="not_started", message=message))

    async def _sleep(self, rest: list[str], context: Context) -> Outcome:
        try:
            seconds = float(rest[0])
        except (IndexError, ValueError):
            return _failed(1)
        await asyncio.sleep(min(seconds, context.timeout_s))
        if seconds > context.timeout_s:
            message = f"still running after {context.timeout_s:g} s"
            return Outcome(
                state="timed_out",
                result={"exit_code": None, "signal": "SIGTERM"},
                error=CommandError(code="timed_out", message=message),
            )
        return Outcome(result={"exit_code": 0, "signal": None})


def _wrote(text: str) -> Outcome:
    return Outcome(
        result={"exit_code": 0, "signal": None},
        output=(Output(offset=0, stream="stdout", text=text + "\n"),),
    )


def _failed(code: int) -> Outcome:
    return Outcome(
        state="failed",
        result={"exit_code": code, "signal": None},
        error=CommandError(code="exit", message=f"exit code {code}"),
    )
