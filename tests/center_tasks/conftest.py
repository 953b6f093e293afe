"""A stage with a real database, played by the test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from center_tasks.moving_stage import Stage

MakeStage = Callable[..., Awaitable[Stage]]


@pytest.fixture
async def make_stage(tmp_path: Path) -> AsyncIterator[MakeStage]:
    made: list[Stage] = []

    async def make(**settings: Any) -> Stage:
        made.append(Stage(tmp_path, **settings))
        return await made[-1].start()

    yield make
    for stage in made:
        await stage.database.stop()
