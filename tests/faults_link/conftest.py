"""A real center for real agents."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from system.programs import CenterProgram


@pytest.fixture
async def center(tmp_path: Path) -> AsyncIterator[CenterProgram]:
    center = CenterProgram(tmp_path)
    center.start()
    try:
        await center.ready()
        yield center
    finally:
        if center.process is not None:
            center.end()
        await center.http.aclose()
