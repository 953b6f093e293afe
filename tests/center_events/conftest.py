"""A log of events on a real database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from center_events.serving import Server
from farshore_center.api.problems import install
from farshore_center.db.database import Database
from farshore_center.events import Draft, Event, EventLog, event_routes
from farshore_center.events.model import events
from fastapi import FastAPI

NOW_MS = 1_763_830_020_123

Happen = Callable[..., Awaitable[list[Event]]]


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/center.db")
    await database.start()
    await database.write(lambda conn: events.create(conn, checkfirst=True))
    yield database
    await database.stop()


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database, lambda: NOW_MS, keep=500)


@pytest.fixture
def happen(database: Database, log: EventLog) -> Happen:
    """Commits events and announces them."""

    async def happen(*drafts: Draft) -> list[Event]:
        written = await database.write(lambda conn: log.append(conn, drafts))
        log.announce(written)
        return written

    return happen


@pytest_asyncio.fixture
async def server(log: EventLog) -> AsyncIterator[Server]:
    app = FastAPI()
    install(app)
    app.include_router(event_routes(log, heartbeat_s=0.2))
    server = Server(app)
    await server.start()
    yield server
    log.close()
    await server.stop()
