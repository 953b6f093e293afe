"""Health checks after a change: each is asked again until it passes or its time is over."""

import asyncio
import os
from typing import Protocol
from urllib.parse import urlsplit

from farshore_protocol.clock import Clock
from farshore_protocol.config.documents import HealthDocument

from farshore_edge.config.model import Programs

HEAD_BYTES = 4096


class Health(Protocol):
    async def problem(self, check: HealthDocument) -> str | None:
        """Waits until the check passes; why it has not, within its time."""
        ...


class AlwaysHealthy:
    """A simulated node has nothing to ask."""

    async def problem(self, check: HealthDocument) -> str | None:  # noqa: ARG002 # the contract
        return None


class HostHealth:
    """Asks this machine."""

    def __init__(self, programs: Programs, clock: Clock) -> None:
        self._programs = programs
        self._clock = clock

    async def problem(self, check: HealthDocument) -> str | None:
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + check.within_s
        while True:
            found = await self._once(check)
            if found is None:
                return None
            if loop.time() + check.interval_s > deadline_s:
                return f"{found}, {check.within_s:g} s after the change"
            await asyncio.sleep(check.interval_s)

    async def _once(self, check: HealthDocument) -> str | None:
        try:
            async with asyncio.timeout(check.timeout_s):
                return await self._ask(check)
        except TimeoutError:
            return f"no answer within {check.timeout_s:g} s"
        except (OSError, ValueError) as exc:
            return str(exc) or type(exc).__name__

    async def _ask(self, check: HealthDocument) -> str | None:
        if check.command is not None:
            # Its own limit is behind the one above, which ends it by cancellation.
            ended = await self._programs.run(check.command, timeout_s=check.timeout_s + 1)
            words = f"exit code {ended.code}: {ended.output.strip()}".rstrip(": ")
            return None if ended.code == 0 else words
        if check.tcp is not None:
            return await tcp_problem(check.tcp)
        if check.http is not None:
            return await http_problem(check.http)
        return self._age(check)

    def _age(self, check: HealthDocument) -> str | None:
        age_s = self._clock.now_ms() / 1000 - os.stat(check.fresh or "").st_mtime
        return None if age_s <= (check.max_age_s or 0) else f"written {age_s:.0f} s ago"


async def tcp_problem(address: str) -> str | None:
    """``HOST:PORT``, whether somebody takes a connection. Raises OSError, ValueError."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.close()
    return None


async def http_problem(url: str) -> str | None:
    """Whether one GET is answered with a status below 400. Raises OSError, ValueError."""
    status = await _status(url)
    return None if status < 400 else f"status {status}"


async def _status(url: str) -> int:
    """Of one GET; what follows the first line is not read."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if tls else 80)
    reader, writer = await asyncio.open_connection(host, port, ssl=tls or None)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        name = parts.netloc.rpartition("@")[2]
        request = f"GET {target} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode("ascii"))
        await writer.drain()
        line = (await reader.readline())[:HEAD_BYTES].split()
        if len(line) < 2 or not line[0].startswith(b"HTTP/") or not line[1].isdigit():
            raise ValueError("no answer in HTTP")
        return int(line[1])
    finally:
        writer.close()
