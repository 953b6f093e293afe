"""The center's REST interface, as seen by a program that has to live with the center's deaths."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx

from soak.errors import SoakError

T = TypeVar("T")


class CenterHttp:
    def __init__(self, port: int) -> None:
        # A center that was killed leaves no connection behind that a later request would try.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=20, limits=limits
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def get(self, path: str, **params: Any) -> Any:
        """None while it does not answer."""
        try:
            answer = await self._client.get(path, params=params)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    async def ready(self) -> bool:
        return await self.get("/readyz") is not None

    async def give(self, body: dict[str, Any], key: str) -> str:
        """A command's id: sent under the same key until there is an answer."""
        while True:
            try:
                answer = await self._client.post(
                    "/api/v1/commands", json=body, headers={"Idempotency-Key": key}
                )
            except httpx.TransportError:
                await asyncio.sleep(0.05)  # killed in the middle, or not there
                continue
            if answer.status_code in (200, 201):  # 200: it was made the first time, and unanswered
                return str(answer.json()["id"])
            if answer.status_code not in (409, 503):
                raise SoakError(f"POST /commands: {answer.status_code} {answer.text[:500]}")
            await asyncio.sleep(0.05)

    async def nodes(self) -> dict[str, dict[str, Any]]:
        found = await self.get("/api/v1/nodes", limit=1000)
        return {} if found is None else {node["name"]: node for node in found["items"]}


async def until(
    look: Callable[[], Awaitable[T | None]], what: str, *, within_s: float, every_s: float = 0.02
) -> T:
    """The first answer of ``look`` that is neither None nor False."""
    deadline_s = time.monotonic() + within_s
    while True:
        found = await look()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline_s:
            raise SoakError(f"waited {within_s:g} s in vain for {what}")
        await asyncio.sleep(every_s)
