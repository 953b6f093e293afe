"""A center with nodes that stand in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from center_jobs.stage import Stage


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = await Stage(tmp_path / "center").start()
    yield made
    await made.stop()
