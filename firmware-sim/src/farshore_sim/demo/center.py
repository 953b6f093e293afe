"""The center's REST API as the demonstration uses it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx

from farshore_sim.demo.processes import Program, one_ended
from farshore_sim.errors import DemoError

LOOK_EVERY_S = 0.1
ANSWER_S = 30.0
"""A machine may be slow; a center that does not answer in this time is no center."""
PAGE = 1000

Books = dict[str, dict[str, dict[str, Any]]]


class CenterApi:
    """``programs``: what must be running while something is awaited."""

    def __init__(self, url: str, programs: list[Program]) -> None:
        self.url = url
        self._programs = programs
        self._http = httpx.AsyncClient(base_url=url, timeout=ANSWER_S)

    async def get(self, path: str, **params: Any) -> Any:
        return await self._ask("GET", path, (200,), params=params)

    async def command(self, **body: Any) -> Any:
        return await self._ask("POST", "/api/v1/commands", (201,), json=body)

    async def put_task(self, name: str, **spec: Any) -> Any:
        return await self._ask("PUT", f"/api/v1/tasks/{name}", (200, 201), json=spec)

    async def instances(self, task: str) -> list[dict[str, Any]]:
        found: dict[str, Any] = await self.get(f"/api/v1/tasks/{task}")
        instances: list[dict[str, Any]] = found["instances"]
        return instances

    async def explained(self, task: str) -> dict[str, Any]:
        """Why its first instance is where it is."""
        found: dict[str, Any] = (await self.get(f"/api/v1/tasks/{task}/explain"))["instances"][0]
        return found

    async def _ask(self, method: str, path: str, expected: tuple[int, ...], **more: Any) -> Any:
        try:
            answer = await self._http.request(method, path, **more)
        except httpx.HTTPError as exc:
            await one_ended(self._programs, within_s=1)  # then that is the reason
            raise DemoError(f"{method} {path}: {exc or type(exc).__name__}") from exc
        if answer.status_code not in expected:
            raise DemoError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        return answer.json()

    async def _all(self, path: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.get(path, limit=PAGE, **cursor)
            items += page["items"]
            if page["next"] is None:
                return items
            cursor = {"cursor": page["next"]}

    async def nodes(self) -> list[dict[str, Any]]:
        return await self._all("/api/v1/nodes")

    async def books(self) -> Books:
        """The current book of each stream, by node."""
        books: Books = {}
        for book in await self._all("/api/v1/streams"):
            if book["current"]:
                books.setdefault(book["node"], {})[book["stream"]] = book
        return books

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
