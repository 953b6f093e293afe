"""The real programs, started on free ports and ended by their id."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
from ports import free_ports

T = TypeVar("T")

DEADLINE_S = 120
BIN = Path(sys.executable).parent


async def until(look: Callable[[], Awaitable[T | None]], what: str) -> T:
    """The first answer that is not None."""
    deadline_s = time.monotonic() + DEADLINE_S
    answer = await look()
    while answer is None:
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        await asyncio.sleep(0.02)
        answer = await look()
    return answer


async def when(true: Callable[[], bool], what: str) -> None:
    async def look() -> bool | None:
        return true() or None

    await until(look, what)


class Started:
    """A program with its output, read as it comes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.text = ""
        self._news = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, name: str, *args: str, **environment: str) -> "Started":
        return cls(
            await asyncio.create_subprocess_exec(
                str(BIN / name),
                *args,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={k: v for k, v in os.environ.items() if k != "COLUMNS"} | environment,
            )
        )

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(4096):
            self.text += data.decode("utf-8", "replace")
            self._news.set()
        self._news.set()

    async def says(self, text: str) -> None:
        async def look() -> bool | None:
            ended = self._reading.done()
            assert text in self.text or not ended, f"ended without {text!r}:\n{self.text}"
            return text in self.text or None

        await until(look, f"{text!r} in:\n{self.text}")

    async def ends(self) -> int:
        async with asyncio.timeout(DEADLINE_S):
            await self._reading
            return await self.process.wait()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.ends()

    async def put_away(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self.process.wait(), 30)
            except TimeoutError:
                self.process.kill()
        await self.process.wait()
        await self._reading


@contextlib.asynccontextmanager
async def started(name: str, *args: str, **environment: str) -> AsyncIterator[Started]:
    program = await Started.start(name, *args, **environment)
    try:
        yield program
    finally:
        await program.put_away()


class Center:
    def __init__(self, program: Started, http_port: int, mqtt_port: int) -> None:
        self.program = program
        self.mqtt = f"mqtt://127.0.0.1:{mqtt_port}"
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{http_port}", timeout=30)

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.http.get(f"/api/v1{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def nodes(self) -> dict[str, dict[str, Any]]:
        return {node["name"]: node for node in (await self.get("/nodes", limit=1000))["items"]}

    async def online(self, names: set[str]) -> dict[str, dict[str, Any]]:
        async def look() -> dict[str, dict[str, Any]] | None:
            nodes = await self.nodes()
            there = {name for name, node in nodes.items() if node["state"] == "online"}
            return nodes if there >= names else None

        return await until(look, f"{sorted(names)} to be online")

    async def offline(self, names: set[str]) -> None:
        async def look() -> bool | None:
            nodes = await self.nodes()
            return all(nodes[name]["state"] == "offline" for name in names) or None

        await until(look, f"{sorted(names)} to be offline")

    async def command(self, **body: Any) -> dict[str, Any]:
        answer = await self.http.post("/api/v1/commands", json=body)
        assert answer.status_code == 201, answer.text
        command_id = answer.json()["id"]

        async def look() -> dict[str, Any] | None:
            command: dict[str, Any] = await self.get(f"/commands/{command_id}")
            return command if command["done"] else None

        return await until(look, f"{body['verb']} to be answered")

    async def books(self, node: str) -> dict[str, dict[str, Any]]:
        items = (await self.get(f"/nodes/{node}/streams"))["items"]
        return {book["stream"]: book for book in items if book["current"]}


@contextlib.asynccontextmanager
async def center(data: Path) -> AsyncIterator[Center]:
    http_port, mqtt_port = free_ports(2)
    arguments = ("run", "--dev", "--data", str(data), "--http", f"127.0.0.1:{http_port}")
    async with started(
        "farshore-center", *arguments, "--mqtt", f"127.0.0.1:{mqtt_port}"
    ) as program:
        made = Center(program, http_port, mqtt_port)

        async def ready() -> bool | None:
            assert program.process.returncode is None, program.text
            with contextlib.suppress(httpx.TransportError):
                return (await made.http.get("/readyz")).status_code == 200 or None
            return None

        try:
            await until(ready, "the center to be ready")
            yield made
        finally:
            await made.http.aclose()
