"""A stage on a database file of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from center_commands.stage import Stage, create_tables
from farshore_center.db.database import Database


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    database = Database(f"sqlite:///{tmp_path}/center.db")
    await database.start()
    await database.write(create_tables)
    yield Stage(database)
    await database.stop()
