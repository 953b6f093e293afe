"""A running center, and nodes that leave at the end of the test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from center.running import PahoNode, RunningCenter, settings_for

MakeNode = Callable[..., Awaitable[PahoNode]]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningCenter]:
    running = RunningCenter(settings_for(tmp_path / "center"))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def make_node(running: RunningCenter) -> AsyncIterator[MakeNode]:
    nodes: list[PahoNode] = []

    async def make(name: str, *, will: bool = True) -> PahoNode:
        nodes.append(PahoNode(running.port, name, will=will))
        return await nodes[-1].ready()

    yield make
    for node in nodes:
        node.leave()
