"""Which center this node has obeyed last, and how far that had come.

Kept in memory with every acknowledgement, on the disk with what is deleted because of it
(``outbox/settling.py``), and once in a while: it is evidence, by which a center that was restored from a
backup finds out that it was. It decides nothing.
"""

import contextlib
import logging
from collections.abc import Callable
from typing import Protocol

from farshore_protocol.messages import CenterMark

from farshore_edge.database import Change, Freed
from farshore_edge.errors import DatabaseError

log = logging.getLogger(__name__)

WRITE_EVERY_S = 60.0


class Database(Protocol):
    def center(self) -> CenterMark | None: ...

    async def commit(self, change: Change, /) -> Freed: ...


class CenterMemory:
    def __init__(self, database: Database, *, now_s: Callable[[], float]) -> None:
        self._database = database
        self._now_s = now_s
        self._mark: CenterMark | None = None
        self._written: CenterMark | None = None
        self._write_at_s = now_s()
        with contextlib.suppress(DatabaseError):  # a disk that is found later: ``begin`` then
            self.begin()

    def begin(self) -> None:
        """Reads what the disk knows; what was obeyed since this start is newer. Raises
        DatabaseError."""
        self._written = self._database.center()
        self._mark = self._mark or self._written

    @property
    def mark(self) -> CenterMark | None:
        return self._mark

    async def obeyed(self, mark: CenterMark, *, answer: bool) -> None:
        """What was acknowledged under this mark is deleted; raises nothing.

        ``answer``: to a birth. The mark of another start is evidence until a birth that holds it
        has been answered: births can be lost on the way.
        """
        same = self._mark is not None and self._mark[:2] == mark[:2]
        if self._mark is None or (self._mark[2] < mark[2] if same else answer):
            self._mark = mark
        if self._mark != self._written and self._now_s() >= self._write_at_s:
            await self.write()

    async def write(self) -> None:
        """At an orderly stop, too."""
        mark = self._mark
        if mark is None or mark == self._written:
            return
        self._write_at_s = self._now_s() + WRITE_EVERY_S
        try:
            await self._database.commit(Change(center=mark))
        except DatabaseError as exc:
            log.warning("the center's mark can't be written", extra={"error": str(exc)})
            return
        self._written = mark
