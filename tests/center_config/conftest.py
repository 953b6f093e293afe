"""A running center, and nodes that answer what they are sent."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from center.running import PahoNode, RunningCenter, settings_for
from center_config.played import ConfigNode

MakeConfigNode = Callable[..., Awaitable[ConfigNode]]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningCenter]:
    running = RunningCenter(settings_for(tmp_path / "center"))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def make_config_node(running: RunningCenter) -> AsyncIterator[MakeConfigNode]:
    nodes: list[ConfigNode] = []

    async def make(name: str, *, group: str = "eu/hamburg", **more: Any) -> ConfigNode:
        node = ConfigNode(await PahoNode(running.port, name).ready())
        nodes.append(node)
        node.start()
        await node.birth(group=group, **more)
        return node

    yield make
    for node in nodes:
        await node.stop()
        node.node.leave()
