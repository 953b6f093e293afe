"""The center's REST API as the demonstration uses it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx

from farshore_sim.demo.processes import Program
from farshore_sim.errors import DemoError

LOOK_EVERY_S = 0.1


class CenterApi:
    """``programs``: what must be running while something is awaited."""

    def __init__(self, url: str, programs: list[Program]) -> None:
        self.url = url
        self._programs = programs
        self._http = httpx.AsyncClient(base_url=url, timeout=10)

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self._http.get(path, params=params)
        if answer.status_code != 200:
            raise DemoError(f"GET {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    async def command(self, **body: Any) -> Any:
        answer = await self._http.post("/api/v1/commands", json=body)
        if answer.status_code != 201:
            raise DemoError(f"POST /api/v1/commands: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    async def nodes(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.get("/api/v1/nodes", limit=1000))["items"]
        return items

    async def streams(self, node: str) -> dict[str, dict[str, Any]]:
        """The current book of each stream of a node."""
        items = (await self.get(f"/api/v1/nodes/{node}/streams"))["items"]
        return {book["stream"]: book for book in items if book["current"]}

    async def done(self, command_id: str, within_s: float) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            command: dict[str, Any] = await self.get(f"/api/v1/commands/{command_id}")
            return command if command["done"] else None

        done: dict[str, Any] = await self.until(look, within_s, "the command to be answered by all")
        return done

    async def ready(self, within_s: float) -> None:
        async def look() -> bool | None:
            try:
                return (await self._http.get("/readyz")).status_code == 200 or None
            except httpx.TransportError:
                return None

        await self.until(look, within_s, "the center to be ready")

    async def until(self, look: Callable[[], Any], within_s: float, what: str) -> Any:
        """The first answer of ``look`` that is not None; DemoError after ``within_s``."""
        deadline = time.monotonic() + within_s
        while True:
            for program in self._programs:
                program.check()
            answer = await look()
            if answer is not None:
                return answer
            if time.monotonic() > deadline:
                raise DemoError(f"waited {within_s:g} s in vain for {what}")
            await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        await self._http.aclose()
