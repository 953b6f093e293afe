"""A real HTTP server around an application, and a client that reads server-sent events."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

DEADLINE_S = 45.0


class Server:
    def __init__(self, app: FastAPI) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(retries=20)) as client:
            await client.get(f"{self.url}/nothing")

    async def stop(self) -> None:
        """Returns when every response is at its end."""
        self._server.should_exit = True
        if self._task is not None:
            async with asyncio.timeout(DEADLINE_S):
                await self._task
            self._task = None


class Stream:
    """Lines of an open stream: comments and events, in order."""

    def __init__(self, response: httpx.Response) -> None:
        self.headers = response.headers
        self._lines = response.aiter_lines()

    async def comment(self) -> str:
        """The next comment."""
        while True:
            line = await self._line()
            if line.startswith(":"):
                return line[1:].strip()

    async def event(self) -> dict[str, Any]:
        """The next event; its fields must agree with its data."""
        fields: dict[str, str] = {}
        while True:
            line = await self._line()
            if line == "" and "data" in fields:
                data: dict[str, Any] = json.loads(fields["data"])
                assert fields["id"] == str(data["id"])
                assert fields["event"] == data["kind"]
                return data
            name, _, value = line.partition(": ")
            if name:
                fields[name] = value

    async def ended(self) -> None:
        async with asyncio.timeout(DEADLINE_S):
            async for _ in self._lines:
                pass

    async def _line(self) -> str:
        async with asyncio.timeout(DEADLINE_S):
            return await anext(self._lines)


@contextlib.asynccontextmanager
async def streaming(
    url: str, params: dict[str, Any] | None = None, last_event_id: int | str | None = None
) -> AsyncIterator[Stream]:
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = str(last_event_id)
    async with (
        httpx.AsyncClient(timeout=DEADLINE_S) as client,
        client.stream("GET", f"{url}/api/v1/events", params=params, headers=headers) as response,
    ):
        assert response.status_code == 200, await response.aread()
        yield Stream(response)
