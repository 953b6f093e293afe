"""A running center with a fleet that needs no connections, and ``farshore`` against it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog.testing
from center.running import EPOCH, RunningCenter, birth, record, settings_for
from farshore_center.cli.main import app as farshore
from typer.testing import CliRunner, Result

Cli = Callable[..., Awaitable[Result]]


class Stage:
    """What a test does with a center, in few words."""

    def __init__(self, running: RunningCenter) -> None:
        self.running = running
        self.center = running.center
        self.changes: list[frozenset[str] | None] = []
        self.center.groups.changed = self.changes.append

    async def born(self, name: str, group: str = "", **more: Any) -> None:
        word = (
            birth(group=group, labels={}, **more)
            if "labels" not in more
            else birth(group=group, **more)
        )
        await self.center.intake.take(f"fs1/up/{name}/birth", json.dumps(word).encode(), name)

    async def facts(self, name: str, facts: dict[str, Any], seq: int = 1) -> None:
        word = {**record(seq), "digest": f"d{seq}", "facts": facts}
        payload = json.dumps(word).encode()
        await self.center.intake.take(f"fs1/up/{name}/rep/facts", payload, name)
        await self.center.ingest.drained()

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return await self.running.http.request(method, f"/api/v1{path}", **more)

    async def made(self, path: str) -> None:
        response = await self.ask("PUT", f"/groups/{path}?parents=true", json={})
        assert response.status_code == 201, response.text

    async def paths(self) -> list[str]:
        return [item["path"] for item in (await self.running.get("/groups"))["items"]]

    async def names(self, selector: str) -> list[str]:
        found = await self.running.get("/nodes", selector=selector)
        return [item["name"] for item in found["items"]]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    running = RunningCenter(settings_for(tmp_path / "center"))
    await running.start()
    yield Stage(running)
    await running.stop()


@pytest.fixture
def cli(stage: Stage) -> Iterator[Cli]:
    """``farshore …`` in a thread: the center needs this one, and keeps its log out of the output."""

    async def invoke(*args: str) -> Result:
        words = ["--url", stage.running.url, *args]
        return await asyncio.to_thread(CliRunner().invoke, farshore, words)

    with structlog.testing.capture_logs():
        yield invoke


__all__ = ["EPOCH", "Cli", "Stage"]
