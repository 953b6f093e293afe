"""The agent's database while its disk can't be used at a start: there is none, and it is looked for.

Until it is found every method raises DiskError. Nothing is made up in its place: an epoch or a
ledger that is on no disk would contradict the one that may be there.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from farshore_protocol.ids import Ids
from farshore_protocol.messages import CenterMark

from farshore_edge.database.model import (
    Change,
    CommandRow,
    Database,
    Freed,
    Loss,
    Record,
    SetAside,
    StreamState,
    TaskBooks,
)
from farshore_edge.database.recovery import open_database
from farshore_edge.database.sqlite import SqliteDatabase
from farshore_edge.errors import DiskError

Open = Callable[[SetAside | None], SqliteDatabase]


class LateDatabase:
    def __init__(self, open_it: Open, error: DiskError, aside: SetAside | None = None) -> None:
        """``open_it`` is given what was set aside by an earlier attempt that then failed."""
        self._open = open_it
        self._error = error
        self._aside = aside
        self._found: SqliteDatabase | None = None

    async def look(self) -> SetAside | None:
        """Opens it; what was set aside for it. Raises DatabaseError while it can't be opened."""
        if self._found is None:
            try:
                # Looking through a large file takes seconds.
                self._found = await asyncio.to_thread(self._open, self._aside)
            except DiskError as exc:
                self._aside = exc.aside or self._aside
                self._error = exc
                raise
        return self._found.aside()

    def _there(self) -> Database:
        if self._found is None:
            raise DiskError(str(self._error))
        return self._found

    def streams(self) -> dict[str, StreamState]:
        return self._there().streams()

    def records(self, stream: str, seqs: Iterable[int]) -> dict[int, Record]:
        return self._there().records(stream, seqs)

    def losses(self) -> list[Loss]:
        return self._there().losses()

    def command(self, command_id: str) -> CommandRow | None:
        return self._there().command(command_id)

    def unfinished_commands(self) -> list[CommandRow]:
        return self._there().unfinished_commands()

    def recent_commands(self, limit: int) -> list[CommandRow]:
        return self._there().recent_commands(limit)

    def center(self) -> CenterMark | None:
        return self._there().center()

    def unanswered(self) -> Mapping[str, int]:
        return self._there().unanswered()

    def tasks(self) -> TaskBooks:
        return self._there().tasks()

    async def commit(self, change: Change) -> Freed:
        return await self._there().commit(change)

    async def close(self) -> None:
        if self._found is not None:
            await self._found.close()


def open_or_wait(
    path: Path, ids: Ids, now_ms: Callable[[], int]
) -> tuple[SqliteDatabase | LateDatabase, SetAside | None]:
    """The database with what was set aside for it, or one that is looked for. Raises DatabaseError
    for what no better disk mends: a later version, another agent on the same file."""

    def attempt(aside: SetAside | None = None) -> SqliteDatabase:
        return open_database(path, ids, now_ms=now_ms(), aside=aside)

    try:
        database = attempt()
        return database, database.aside()
    except DiskError as exc:
        return LateDatabase(attempt, exc, exc.aside), None
