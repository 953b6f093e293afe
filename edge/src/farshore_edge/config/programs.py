"""Runs programs for handlers and health checks: a group of its own, a time limit, its last words."""

import asyncio
import os
from collections.abc import Mapping, Sequence

from farshore_edge.commands.verbs import program
from farshore_edge.commands.verbs.guard import Guard
from farshore_edge.config.model import Ended

OUTPUT_BYTES = 4096


class HostPrograms:
    """Programs of this machine. ``guard``: where they are on record; ``command``: for which one."""

    def __init__(self, guard: Guard | None = None, command: str = "") -> None:
        self._guard = guard
        self._command = command

    async def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        output_bytes: int = OUTPUT_BYTES,
    ) -> Ended:
        """``output_bytes``: of each stream, what is kept of its end."""
        running = await program.start(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=None,
            guard=self._guard,
            command=self._command,
            must_record=False,
        )
        out = asyncio.create_task(_tail(running.stdout, output_bytes))
        err = asyncio.create_task(_tail(running.stderr, output_bytes))
        try:
            async with asyncio.timeout(timeout_s):
                await running.exited.wait()
            await asyncio.wait([out, err], timeout=1.0)  # a child may hold the pipes for ever
        except TimeoutError:
            pass
        finally:
            if running.returncode is None:
                await running.end_group()
                in_time = False
            else:
                in_time = True
            for reading in (out, err):
                reading.cancel()
            await asyncio.wait([out, err])
            running.close()
        output = "".join(
            each.result().decode(errors="replace") for each in (out, err) if not each.cancelled()
        )
        return Ended(code=running.returncode if in_time else None, output=output)


async def _tail(reader: asyncio.StreamReader, most: int) -> bytes:
    kept = b""
    while data := await reader.read(max(most, OUTPUT_BYTES)):
        kept = (kept + data)[-most:]
    return kept
