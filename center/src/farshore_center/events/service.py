"""The log of events: appended inside someone's transaction, announced after its commit.

An announcement carries nothing but the wake-up: a subscriber reads from the database, page by
page, in the order of ids. So a slow one costs no memory, and announcements that are late, out of
order or missing do no harm. It does not speak HTTP.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from farshore_center.db.database import Database
from farshore_center.events.document import json_text
from farshore_center.events.model import Draft, Event, events
from farshore_center.events.select import EventFilter

KEEP = 100_000
_PRUNE_EVERY = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Events in the order of their ids; everything up to `reached` has been looked at."""

    items: tuple[Event, ...]
    reached: int
    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The ids that are kept; 0 and 0 when there are none."""

    oldest: int
    newest: int


@dataclass(slots=True, kw_only=True, eq=False)
class Subscription:
    """A place to wait for news; what is new must be read from the log."""

    wanted: EventFilter
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        self._woken.set()

    def rearm(self) -> None:
        """Call it before reading, so that what comes during the reading wakes again."""
        self._woken.clear()

    async def news(self, timeout_s: float) -> bool:
        """True as soon as there may be something new, False after `timeout_s` without."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True


class EventLog:
    """Keeps the `keep` newest events, give or take a few that wait for the next pruning."""

    def __init__(self, database: Database, now_ms: Callable[[], int], keep: int = KEEP) -> None:
        self._database = database
        self._now_ms = now_ms
        self._keep = max(1, keep)
        self._prune_every = min(_PRUNE_EVERY, self._keep)
        # The first append prunes: a center that is often started anew must prune as well.
        self._since_pruning = self._prune_every
        self._subscriptions: set[Subscription] = set()
        self._closed = False

    def append(self, conn: Connection, drafts: Sequence[Draft]) -> list[Event]:
        """Writes inside the caller's transaction; `announce` the result after its commit."""
        if not drafts:
            return []
        now_ms = self._now_ms()
        rows = [_row(draft, now_ms) for draft in drafts]
        ids = conn.execute(
            insert(events).returning(events.c.id, sort_by_parameter_order=True), rows
        ).scalars()
        written = [Event(id=id_, **row) for id_, row in zip(ids, rows, strict=True)]
        self._since_pruning += len(written)
        if self._since_pruning >= self._prune_every:
            self._since_pruning = 0
            conn.execute(delete(events).where(events.c.id <= written[-1].id - self._keep))
        return written

    def announce(self, announced: Sequence[Event]) -> None:
        """Wakes whoever wants one of these; on the event loop, after the commit."""
        for subscription in self._subscriptions:
            if any(subscription.wanted.matches(event) for event in announced):
                subscription.wake()

    @contextmanager
    def subscribe(self, wanted: EventFilter) -> Iterator[Subscription]:
        subscription = Subscription(wanted=wanted)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    @property
    def subscribers(self) -> int:
        return len(self._subscriptions)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Ends every open stream; a server that waits for its responses can then stop."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.wake()

    async def bounds(self) -> Bounds:
        def work(conn: Connection) -> Bounds:
            oldest, newest = conn.execute(
                select(
                    select(func.min(events.c.id)).scalar_subquery(),
                    select(func.max(events.c.id)).scalar_subquery(),
                )
            ).one()
            return Bounds(oldest=oldest or 0, newest=newest or 0)

        return await self._database.read(work)

    async def page(self, wanted: EventFilter, after: int, limit: int) -> Page:
        """The oldest `limit` events behind the id `after`."""

        def work(conn: Connection) -> Page:
            rows = conn.execute(
                select(events)
                .where(events.c.id > after, *wanted.clauses())
                .order_by(events.c.id)
                .limit(limit)
            ).all()
            items = tuple(_event(row) for row in rows)
            if len(items) == limit:
                return Page(items=items, reached=items[-1].id, full=True)
            # The same snapshot: nothing that is wanted lies between the last item and the newest.
            newest = conn.execute(select(func.max(events.c.id))).scalar() or 0
            return Page(items=items, reached=max(after, newest), full=False)

        return await self._database.read(work)

    async def list(
        self,
        node: str | None = None,
        kind: str | None = None,
        command: str | None = None,
        limit: int = 100,
        job: str | None = None,
    ) -> list[Event]:
        """The latest `limit` events, the newest last."""
        wanted = EventFilter(node=node, kind=kind, command=command, job=job)

        def work(conn: Connection) -> Sequence[Row[Any]]:
            newest_first = (
                select(events).where(*wanted.clauses()).order_by(events.c.id.desc()).limit(limit)
            )
            return conn.execute(newest_first).all()

        return [_event(row) for row in reversed(await self._database.read(work))]


def _row(draft: Draft, now_ms: int) -> dict[str, Any]:
    return {
        "at_ms": now_ms if draft.at_ms is None else draft.at_ms,
        "kind": draft.kind,
        "node": draft.node,
        "command": draft.command,
        "job": draft.job,
        "data": json_text(draft.data),
    }


def _event(row: Row[Any]) -> Event:
    return Event(
        id=row.id,
        at_ms=row.at_ms,
        kind=row.kind,
        node=row.node,
        command=row.command,
        job=row.job,
        data=row.data,
    )
