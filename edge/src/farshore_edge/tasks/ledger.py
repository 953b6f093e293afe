"""A node's books of tasks: read at the start, written before anything is done, told to the center."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from farshore_edge.database import Change, Database, TaskBooks, TaskChange
from farshore_edge.errors import DatabaseError, RecordError
from farshore_edge.outbox import Outbox
from farshore_edge.tasks import reports
from farshore_edge.tasks.model import Books, Kept, kept_of

log = logging.getLogger(__name__)

READ_AGAIN_S = 5.0


class Ledger:
    """``books``: what is durable, or on its way to be."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self.books = Books()
        self._database = database
        self._outbox = outbox

    async def load(self) -> None:
        """Until the disk can be read."""
        while True:
            try:
                read = self._database.tasks()
            except DatabaseError as exc:
                log.error("the tasks can't be read", extra={"error": str(exc)})
                await asyncio.sleep(READ_AGAIN_S)
            else:
                self._open(read)
                return

    def _open(self, read: TaskBooks) -> None:
        kept = {}
        for row in read.rows:
            try:
                kept[row.id] = kept_of(row)
            except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
                # It is ended as nobody's, and the center sends the document again.
                log.error("a task can't be read", extra={"task": row.id, "error": str(exc)})
        whole = len(kept) == len(read.rows)
        rev = max(self.books.rev, read.rev if whole else 0)
        self.books = Books(rev=rev, highest=dict(read.epochs), kept=kept)

    async def write(self, change: TaskChange) -> None:
        """Durable when it returns. What waits in memory would be written over it: none of that then."""
        if (outage := self._outbox.outage()) is not None:
            raise DatabaseError(outage.error)
        await self._database.commit(Change(tasks=(change,)))

    def put(self, kept: Kept) -> None:
        """As it is now; its events have made it durable."""
        self.books = replace(self.books, kept={**self.books.kept, kept.id: kept})

    def forget(self, name: str) -> None:
        kept = {each: value for each, value in self.books.kept.items() if each != name}
        self.books = replace(self.books, kept=kept)
        self._outbox.note(Change(tasks=(TaskChange(gone=(name,)),)))

    # Telling

    async def tell(self, kept: Kept) -> None:
        """The state and its event are durable together, or wait in memory together."""
        row = TaskChange(rows=(kept.spoken().row(),))
        await self.say(reports.event(kept), row)

    async def say(self, body: dict[str, Any], *tasks: TaskChange) -> None:
        try:
            await self._outbox.append("events", "evt/task", body, tasks=tasks)
        except RecordError as exc:
            log.error("an event of a task can't travel", extra={"error": str(exc)})
            if tasks:
                self._outbox.note(Change(tasks=tasks))

    async def report(self, kept: Iterable[Kept]) -> None:
        body = reports.report(self.books.rev, kept, self.books.highest)
        try:
            await self._outbox.append("reports", "rep/tasks", body)
        except RecordError as exc:
            log.error("the report of tasks can't travel", extra={"error": str(exc)})
