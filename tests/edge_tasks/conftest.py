"""A node with real processes; whatever a test leaves of them is killed, by its mark."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from edge_tasks.task_bench import World, kill_tasks
from farshore_edge.tasks.host import host_tasks


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(host_tasks(tmp_path))
    yield made
    await made.stop()
    kill_tasks(tmp_path)
