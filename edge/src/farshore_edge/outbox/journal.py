"""The way into the database: changes in their order, those that can't be written again and again.

While the database can't be written (a full disk, a card on its last legs) changes wait in memory,
behind each other, so that a later state is never overwritten by an earlier one. Beyond
``WAITING_MAX_BYTES`` the oldest metrics among them are given up. It knows nothing of sending.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from farshore_edge.database import Change, CommandRow, Database, Freed, Mark, Record
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox.changes import joined
from farshore_edge.outbox.envelope import Timing

log = logging.getLogger(__name__)

RETRY_S = 5.0
LOG_EVERY_MS = 60_000
WAITING_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The database can't be written: since when, and what it said last."""

    since: Timing
    error: str


class Journal:
    """``applied`` is called for every change once it is durable; ``lost`` makes the change that
    declares records lost which never became durable."""

    def __init__(
        self,
        database: Database,
        *,
        applied: Callable[[Change, Freed], None],
        lost: Callable[[Sequence[Record]], Change],
        now: Callable[[], Timing],
        recovered: Callable[[Outage], None],
        in_order: Callable[[Sequence[Mark]], list[Mark]],
        retry_s: float,
    ) -> None:
        """``recovered`` is called when the database can be written again; ``in_order``: of
        marks that failed, those that still count."""
        self._database = database
        self._applied = applied
        self._lost = lost
        self._now = now
        self._recovered = recovered
        self._in_order = in_order
        self._retry_s = retry_s
        self._outage: Outage | None = None
        self._logged_ms = 0
        self._waiting: list[Change] = []
        self._under_way = 0
        self._retrying: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    def waiting(self) -> int:
        """Changes that are not durable because the database failed."""
        return len(self._waiting)

    def command(self, command_id: str) -> CommandRow | None:
        """The newest row of a command among what waits."""
        rows = (row for change in self._waiting for row in change.commands if row.id == command_id)
        return max(enumerate(rows), default=(0, None), key=lambda pair: pair[0])[1]

    def begin_unwritable(self, exc: DatabaseError) -> None:
        """There is no database yet: from now on it is tried until there is."""
        self._failed(exc)
        self._hold(Change())

    def forget_commands(self, known: Callable[[str], bool]) -> None:
        """Of what waits: what is said of a command there must not take the place of what is known."""
        self._waiting = [
            replace(change, commands=[row for row in change.commands if not known(row.id)])
            for change in self._waiting
        ]

    async def write(self, change: Change) -> None:
        """Returns once the change is durable, or waits in memory because it could not be made so."""
        if self._waiting:
            self._hold(change)
            return
        try:
            freed = await self._database.commit(change)
        except DatabaseError as exc:
            self._failed(exc)
            self._hold(change)
            return
        self._applied(change, freed)

    def _hold(self, change: Change) -> None:
        self._waiting.append(change)
        if sum(len(record.payload) for record in self._records()) > WAITING_MAX_BYTES:
            self._thin()
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._retry(), name="outbox retry")

    def _records(self) -> Iterator[Record]:
        return (record for change in self._waiting for record in change.records)

    def _thin(self) -> None:
        """Gives up the older half of the waiting metrics, but not what is being written now."""
        free = self._waiting[self._under_way :]
        metrics = [r for change in free for r in change.records if r.stream == "metrics"]
        gone = metrics[: (len(metrics) + 1) // 2]
        if not gone:
            return
        log.error("too much waits in memory; metrics are given up", extra={"records": len(gone)})
        seqs = {record.seq for record in gone}
        thinned = [
            replace(
                change,
                records=[r for r in change.records if r.stream != "metrics" or r.seq not in seqs],
            )
            for change in free
        ]
        self._waiting[self._under_way :] = [*filter(_holds_something, thinned), self._lost(gone)]

    async def _retry(self) -> None:
        while self._waiting:
            await self._pause()
            self._under_way = len(self._waiting)
            whole = joined(*self._waiting[: self._under_way])
            whole = replace(whole, marks=self._in_order(whole.marks))
            try:
                freed = await self._database.commit(whole)
            except DatabaseError as exc:
                self._failed(exc)
                if self._closing.is_set():
                    return
            else:
                del self._waiting[: self._under_way]
                self._applied(whole, freed)
            finally:
                self._under_way = 0
        self._well()

    def outage(self) -> Outage | None:
        """Since when the database can't be written, None when it can."""
        return self._outage

    def _failed(self, exc: DatabaseError) -> None:
        now = self._now()
        first = self._outage is None
        since = now if self._outage is None else self._outage.since
        self._outage = Outage(since=since, error=str(exc))
        if first or now.up_ms - self._logged_ms >= LOG_EVERY_MS:
            self._logged_ms = now.up_ms
            log.error(
                "the outbox can't be written; what is new waits in memory",
                extra={"changes_in_memory": len(self._waiting), "error": str(exc)},
            )

    def _well(self) -> None:
        if self._outage is not None:
            outage, self._outage = self._outage, None
            log.info("the outbox can be written again", extra={"since_ms": outage.since.ts})
            if not self._closing.is_set():
                self._recovered(outage)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._retry_s):
                await self._closing.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """A last attempt at what could not be written."""
        self._closing.set()
        if self._retrying is not None:
            await self._retrying
        lost = sum(map(_holds_something, self._waiting))
        if lost:
            log.error("changes in memory are lost at stop", extra={"changes": lost})


def _holds_something(change: Change) -> bool:
    parts = (change.records, change.settled, change.losses, change.commands, change.marks)
    rare = (change.aside, change.center, change.unanswered, change.turn)
    return any(parts) or bool(change.tasks) or any(part is not None for part in rare)
