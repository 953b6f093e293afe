"""Health checks of tasks on a real machine: a command, an HTTP request, a TCP connection."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from farshore_protocol.tasks.spec import HealthCheck

from farshore_edge.config.health import _status

WORDS_BYTES = 512


class HostProbe:
    async def problem(self, check: HealthCheck, folder: Path, env: Mapping[str, str]) -> str | None:
        try:
            async with asyncio.timeout(check.timeout_s):
                if check.command is not None:
                    return await _command(check.command, folder, env)
                if check.http is not None:
                    status = await _status(check.http)
                    return None if status < 400 else f"status {status}"
                await _connect(check.tcp or "")
                return None
        except TimeoutError:
            return f"no answer within {check.timeout_s:g} s"
        except (OSError, ValueError) as exc:
            return str(exc) or type(exc).__name__


async def _connect(where: str) -> None:
    host, _, port = where.rpartition(":")
    _, writer = await asyncio.open_connection(host.strip("[]") or "127.0.0.1", int(port))
    writer.close()


async def _command(argv: list[str], folder: Path, env: Mapping[str, str]) -> str | None:
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=folder,
        env=dict(env),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    words = out[-WORDS_BYTES:].decode(errors="replace").strip()
    return (
        None if process.returncode == 0 else f"exit code {process.returncode}: {words}".rstrip(": ")
    )
