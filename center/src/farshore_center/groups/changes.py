"""Changes of the tree and of overlays: one after another, whole, and announced after the commit."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events.model import Draft, Event
from farshore_center.events.service import EventLog

T = TypeVar("T")


def _nothing() -> None:
    """What there is to take back of a change that was not made in memory before."""


class Changes:
    def __init__(self, database: Database, events: EventLog) -> None:
        self._database = database
        self._events = events
        self._one_at_a_time = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()

    async def one(self, change: Coroutine[Any, Any, T]) -> T:
        """Runs a change alone. Whoever asked may go away: what was begun is finished."""

        async def alone() -> T:
            async with self._one_at_a_time:
                return await change

        task = asyncio.create_task(alone())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def write(
        self,
        work: Callable[[Connection], None],
        draft: Draft,
        undo: Callable[[], None] = _nothing,
    ) -> None:
        """The work and its event in one transaction; ``undo`` where there was none."""

        def both(connection: Connection) -> list[Event]:
            work(connection)
            return self._events.append(connection, [draft])

        try:
            written = await self._database.write(both)
        except (DatabaseError, Problem):
            undo()
            raise
        self._events.announce(written)
