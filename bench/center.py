"""A real center as the bench sees it: its process, its REST interface, its counters."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

from bench.errors import BenchError
from bench.processes import Running, farshore, free_port, running

T = TypeVar("T")


class Center:
    def __init__(self, process: Running, http: httpx.AsyncClient, mqtt_port: int) -> None:
        self.process = process
        self.mqtt_port = mqtt_port
        self._http = http

    @property
    def http_url(self) -> str:
        return str(self._http.base_url)

    @property
    def mqtt_url(self) -> str:
        return f"mqtt://127.0.0.1:{self.mqtt_port}"

    async def get(self, path: str) -> Any:
        return _json(await self._http.get(path), 200)

    async def command(self, wait_s: float = 0.0, **body: Any) -> dict[str, Any]:
        """With ``wait_s`` it answers when the command is done."""
        params = {"wait_s": wait_s} if wait_s else {}
        answer = await self._http.post("/api/v1/commands", json=body, params=params, timeout=120)
        made: dict[str, Any] = _json(answer, 201)
        return made

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = _json(await self._http.post(path, json=body), 201)
        return answer

    async def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._http.put(path, json=body)
        found: dict[str, Any] = _json(answer, 201 if answer.status_code == 201 else 200)
        return found

    async def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._http.patch(path, json=body)
        found: dict[str, Any] = _json(answer, 200)
        return found

    async def delete(self, path: str) -> None:
        answer = await self._http.delete(path)
        if answer.is_error:
            raise BenchError(f"DELETE {path}: {answer.status_code} {answer.text[:300]}")

    async def metrics(self) -> dict[str, float]:
        """``/metrics`` by name and labels, as it is written there."""
        answer = await self._http.get("/metrics")
        lines = (line for line in answer.text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    async def books(self, node: str) -> dict[str, dict[str, Any]]:
        """The current book of each stream of a node."""
        items = (await self.get(f"/api/v1/nodes/{node}/streams"))["items"]
        return {book["stream"]: book for book in items if book["current"]}

    async def until(
        self,
        look: Callable[[], Awaitable[T | None]],
        what: str,
        *,
        within_s: float,
        every_s: float = 0.2,
    ) -> T:
        """The first answer of ``look`` that is not None."""
        deadline = time.monotonic() + within_s
        while True:
            self.process.check()
            answer = await look()
            if answer is not None:
                return answer
            if time.monotonic() > deadline:
                raise BenchError(f"waited {within_s:g} s in vain for {what}")
            await asyncio.sleep(every_s)

    async def online(self, nodes: int, *, within_s: float) -> None:
        """Waits until so many nodes are online."""

        async def look() -> bool | None:
            return (await self.metrics())["farshore_nodes_online"] >= nodes or None

        await self.until(look, f"{nodes} nodes to be online", within_s=within_s)

    async def ready(self) -> None:
        async def look() -> bool | None:
            try:
                return (await self._http.get("/readyz")).status_code == 200 or None
            except httpx.TransportError:
                return None

        await self.until(look, "the center to be ready", within_s=60)


@contextlib.asynccontextmanager
async def center(folder: Path, ports: tuple[int, int] | None = None) -> AsyncIterator[Center]:
    """A center with its embedded broker and its data in ``folder``, as long as the block.

    ``ports``, of HTTP and MQTT: for a center that is started again where it was.
    """
    http_port, mqtt_port = ports or (free_port(), free_port())
    argv = farshore(
        "farshore-center",
        *("run", "--dev", "--data", str(folder / "data"), "--log-level", "WARNING"),
        *("--http", f"127.0.0.1:{http_port}", "--mqtt", f"127.0.0.1:{mqtt_port}"),
    )
    async with (
        running("farshore-center", *argv, log=folder / "center.log") as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{http_port}", timeout=60) as http,
    ):
        found = Center(process, http, mqtt_port)
        await found.ready()
        yield found


def _json(answer: httpx.Response, status: int) -> Any:
    if answer.status_code != status:
        request = answer.request
        raise BenchError(
            f"{request.method} {request.url.path}: {answer.status_code} {answer.text[:300]}"
        )
    return answer.json()
