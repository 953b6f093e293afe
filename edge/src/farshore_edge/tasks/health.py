"""Asks one health check of a task once, on this machine. When it is asked again, and what follows from
it, is not decided here."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from farshore_protocol.tasks.spec import HealthCheck

from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.config.health import http_problem, tcp_problem
from farshore_edge.config.programs import HostPrograms

WORDS_CHARS = 500
LATER_S = 1.0
"""A program's own limit lies behind the check's, which ends it by cancellation."""


class HostProbe:
    """``guard``: where the programs of checks are on record."""

    def __init__(self, guard: Guard | None = None) -> None:
        self._programs = HostPrograms(guard, "health check")

    async def problem(self, check: HealthCheck, folder: Path, env: Mapping[str, str]) -> str | None:
        """None: it passed; else why not. A command runs in ``folder`` with ``env``, at the node itself
        also where the task runs in a container."""
        try:
            async with asyncio.timeout(check.timeout_s):
                found = await self._ask(check, folder, env)
        except TimeoutError:
            found = f"no answer within {check.timeout_s:g} s"
        except (OSError, ValueError) as exc:
            found = str(exc) or type(exc).__name__
        return found if found is None else found[:WORDS_CHARS]

    async def _ask(self, check: HealthCheck, folder: Path, env: Mapping[str, str]) -> str | None:
        if check.tcp is not None:
            return await tcp_problem(check.tcp)
        if check.http is not None:
            return await http_problem(check.http)
        ended = await self._programs.run(
            check.command or (), timeout_s=check.timeout_s + LATER_S, env=env, cwd=str(folder)
        )
        if ended.code == 0:
            return None
        return f"exit code {ended.code}: {ended.output.strip()}".rstrip(": ")
