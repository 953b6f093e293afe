"""Ingest's loop: gather what came, decide, commit as one group, acknowledge after the commit.

Records that a person waits for are settled at once; telemetry alone may wait ``linger_s`` for
company, so that a thousand quiet nodes do not cost a sync each.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import structlog
from farshore_protocol.errors import MessageError
from farshore_protocol.link import Message
from farshore_protocol.messages import FactsReport, TimeRequest
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events.service import EventLog
from farshore_center.ingest import clock, sinks, store
from farshore_center.ingest.answers import acknowledgements, resend
from farshore_center.ingest.arrival import Arrival, refused
from farshore_center.ingest.continuity import Identity, NoIdentity, behind
from farshore_center.ingest.engine import Decision, Greeting, decide
from farshore_center.ingest.rejected import RejectedList
from farshore_center.ingest.shelf import Shelf
from farshore_center.telemetry.errors import BatchError
from farshore_center.telemetry.inbox import pack
from farshore_center.telemetry.service import TelemetryHistory

log = structlog.get_logger(__name__)

_YIELD_EVERY = 50


class Downlink(Protocol):
    async def send(self, message: Message) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """``hole_open_s``: how long a hole may stay before it is asked for, every ``hole_again_s``."""

    queue_records: int = 5_000
    group_records: int = 1_000
    linger_s: float = 0.05
    hole_open_s: float = 30.0
    hole_again_s: float = 60.0
    holes_every_s: float = 5.0
    failure_pause_s: float = 1.0


@dataclass(slots=True)
class IngestCounts:
    accepted: int = 0
    duplicates: int = 0
    refused: int = 0
    lost: int = 0
    unanswered: int = 0
    groups: int = 0
    failed_groups: int = 0


class IngestService:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        downlink: Downlink,
        history: TelemetryHistory,
        recorder: sinks.ReportRecorder,
        configs: sinks.ConfigRecorder,
        rejected: RejectedList,
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        facts_committed: Callable[[str, FactsReport], None],
        reports_committed: Callable[[], None] = lambda: None,
        identity: Identity | None = None,
        tasks: sinks.TaskRecorder | None = None,
        settings: IngestSettings | None = None,
    ) -> None:
        self._database = database
        self._events = events
        self._downlink = downlink
        self._history = history
        self._recorder = recorder
        self._configs = configs
        self._tasks = tasks or sinks.NoTasks()
        self._rejected = rejected
        self._now_ms = now_ms
        self._now_s = now_s
        self._facts_committed = facts_committed
        self._reports_committed = reports_committed
        self._identity = identity or NoIdentity()
        self._settings = settings or IngestSettings()
        self._queue: asyncio.Queue[Arrival | Greeting] = asyncio.Queue(self._settings.queue_records)
        self._urgent = asyncio.Event()
        self._shelf = Shelf(database)
        self._reported: dict[tuple[str, str | None], tuple[str, int]] = {}
        self.counts = IngestCounts()
        self.failing = False
        """Whether the last group could not be committed."""
        self.unanswered: set[str] = set()
        """Nodes whose last birth could not be committed: unlike records, it does not come again by
        itself."""

    @property
    def waiting(self) -> int:
        """What was submitted and is not taken up yet."""
        return self._queue.qsize()

    @property
    def holes(self) -> int:
        """Streams with records that are missing and can still come."""
        return len(self._shelf.with_holes())

    async def submit(self, item: Arrival | Greeting) -> None:
        """Returns when there is room for it: the sender is slowed down, nothing is dropped.

        But for what a node sent into a silence that the center broke just now: in the books it would look
        like what an older time of the node's disk gave. It comes again when the birth is answered.
        """
        if isinstance(item, Arrival) and item.envelope.unanswered:
            self.counts.unanswered += 1
            return
        await self._queue.put(item)
        crowded = self._queue.qsize() >= self._settings.group_records // 4
        if crowded or isinstance(item, Greeting) or item.stream != "metrics":
            self._urgent.set()

    async def exchanged_time(self, node: str, request: TimeRequest) -> None:
        """A time request places the node's boot on the center's clock."""
        await self._shelf.load([node])
        known = self._shelf.base_ms(node, request.boot)
        now_ms = self._now_ms()
        base_ms = clock.boot_base_ms(request, now_ms, known)
        if base_ms == known and self._shelf.is_saved(node, request.boot):
            return
        # Known at once, saved or not: records of this boot may be on their way behind it.
        self._shelf.place_boot(node, request.boot, base_ms)
        await self._database.write(
            lambda connection: store.save_boot_clock(
                connection, node=node, boot=request.boot, base_ms=base_ms, now_ms=now_ms
            )
        )
        self._shelf.saved(node, request.boot)

    async def run(self) -> None:
        while True:
            items = await self._gather()
            try:
                await self._settle(items)
            finally:
                for _ in items:
                    self._queue.task_done()

    async def _gather(self) -> list[Arrival | Greeting]:
        items = [await self._queue.get()]
        if isinstance(items[0], Arrival) and items[0].stream == "metrics":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.linger_s):
                    await self._urgent.wait()
        self._urgent.clear()
        while len(items) < self._settings.group_records and not self._queue.empty():
            items.append(self._queue.get_nowait())
        return items

    async def drained(self) -> None:
        """Returns when everything that was submitted is settled; for an orderly stop."""
        settled = asyncio.create_task(self._queue.join())
        try:
            while not settled.done():
                self._urgent.set()
                await asyncio.wait([settled], timeout=0.01)
        finally:
            settled.cancel()

    async def _settle(self, items: list[Arrival | Greeting]) -> None:
        """Raises nothing: what can't be stored is refused, what can't be committed comes again."""
        nodes = {item.node for item in items}
        try:
            await self._settle_group(items)
        except DatabaseError as exc:
            self.counts.failed_groups += 1
            self.failing = True
            self._shelf.forget(nodes)
            self.unanswered.update(item.node for item in items if isinstance(item, Greeting))
            log.error("nothing could be committed; the nodes keep it", error=str(exc))
            await asyncio.sleep(self._settings.failure_pause_s)
        except Exception as exc:
            self._shelf.forget(nodes)
            await self._settle_singly(items, exc)

    async def _settle_group(self, items: list[Arrival | Greeting]) -> None:
        await self._shelf.load({item.node for item in items})
        # One moment for the whole group: what has no date of its own is dated by it.
        now_ms = self._now_ms()
        decision = decide(self._shelf.books, [self._storable(item, now_ms) for item in items])
        timed = [self._timed(arrival, now_ms) for arrival in decision.fresh]
        lacks = [(node, [asdict(m) for m in found]) for node, found in decision.missing.items()]
        events = await self._commit(decision, timed, lacks, now_ms)
        self._identity.noted_missing(lacks)
        self.failing = False
        for item in items:
            if isinstance(item, Greeting):
                self.unanswered.discard(item.node)
                for stream, head in item.heads.items():
                    self._shelf.epoch_is(item.node, stream, head.epoch)
        self._count(decision)
        self._events.announce(events)
        self._tell_rooms(decision, timed, now_ms)
        for key in decision.changed:
            self._shelf.note_holes(key)
        messages = acknowledgements(
            self._shelf.books,
            decision.acknowledge,
            self._identity.mark(),
            greeted=decision.greeted,
            missing=decision.missing,
        )
        for number, message in enumerate(messages, start=1):
            await self._downlink.send(message)
            if number % _YIELD_EVERY == 0:
                # Who waits for what was committed need not wait for a thousand acknowledgements.
                await asyncio.sleep(0)

    async def _settle_singly(self, items: list[Arrival | Greeting], exc: Exception) -> None:
        """One that nobody foresaw must neither stop the center nor take its group along."""
        if len(items) > 1:
            for item in items:
                await self._settle([item])
            return
        (item,) = items
        log.error("a record broke ingest", node=item.node, item=repr(item)[:500], exc_info=exc)
        if isinstance(item, Arrival) and item.fault is None:
            fault = MessageError("not_storable", f"the center can't store it: {exc}"[:500])
            await self._settle([refused(item, fault)])

    def _storable(self, item: Arrival | Greeting, now_ms: int) -> Arrival | Greeting:
        """A record that could not be read back is refused like any other wrong body."""
        if not isinstance(item, Arrival) or item.body is None:
            return item
        try:
            for arrival, batch in sinks.telemetry_batches([self._timed(item, now_ms)]):
                pack(arrival.node, batch, received_ms=0, wire=b"{}")
        except BatchError as exc:
            return refused(item, MessageError("bad_message", f"TelemetryBatch: {exc}"))
        return item

    def _timed(self, arrival: Arrival, now_ms: int) -> sinks.Timed:
        base_ms = self._shelf.base_ms(arrival.node, arrival.envelope.boot)
        at_ms, approximate = clock.correct(
            arrival.envelope,
            base_ms,
            received_ms=now_ms,
            oldest_ms=now_ms - self._history.unchecked_ms,
        )
        return arrival, at_ms, approximate

    async def _commit(
        self,
        decision: Decision,
        timed: Sequence[sinks.Timed],
        lacks: Sequence[tuple[str, list[dict[str, Any]]]],
        now_ms: int,
    ) -> Any:
        by_stream: dict[str, list[sinks.Timed]] = {}
        for record in timed:
            by_stream.setdefault(record[0].stream, []).append(record)
        writes: list[sinks.Write] = []
        for stream, records in by_stream.items():
            if stream == "reports":
                records = [record for record in records if self._is_newest(record[0])]
            writes.append(self._sink(stream, records, now_ms))
        rows = [store.book_row(key, self._shelf.books[key], now_ms) for key in decision.changed]
        if not (rows or writes or lacks or decision.behind):
            return []

        def work(connection: Connection) -> tuple[Any, int]:
            drafts = [behind(key, *heads) for key, heads in decision.behind.items()]
            for write in writes:
                drafts += write(connection)
            store.save_books(connection, rows)
            store.add_losses(connection, decision.lost, now_ms)
            self._identity.save_missing(connection, lacks)
            generation = self._identity.advance(connection)
            return self._events.append(connection, drafts), generation

        events, generation = await self._database.write(work)
        self._identity.advanced(generation)
        return events

    def _is_newest(self, arrival: Arrival) -> bool:
        """A report from the backlog must not take the place of a later one of its kind."""
        place = (arrival.node, arrival.topic.name)
        epoch, seq = self._reported.get(place, ("", 0))
        envelope = arrival.envelope
        if epoch == envelope.epoch and seq > envelope.seq:
            return False
        self._reported[place] = (envelope.epoch, envelope.seq)
        return True

    def _sink(self, stream: str, records: list[sinks.Timed], now_ms: int) -> sinks.Write:
        match stream:
            case "metrics":
                return sinks.telemetry_write(records, now_ms)
            case "results":
                return sinks.results_write(records, self._recorder)
            case "reports":
                return sinks.reports_write(records, self._configs, self._tasks, now_ms)
        return sinks.events_write(records, self._tasks)

    def _count(self, decision: Decision) -> None:
        self.counts.groups += 1
        self.counts.accepted += len(decision.fresh)
        self.counts.duplicates += decision.duplicates
        self.counts.refused += len(decision.faulty)
        self.counts.lost += sum(line.last - line.first + 1 for line in decision.lost)

    def _tell_rooms(self, decision: Decision, timed: Sequence[sinks.Timed], now_ms: int) -> None:
        for arrival, fault in decision.faulty:
            self._reject(arrival, fault.reason, fault.detail)
        results = reports = events = False
        for record in timed:
            arrival = record[0]
            detail = clock.doubt(arrival.envelope, record[1:], now_ms)
            if detail is not None:
                self._reject(arrival, "clock", detail)
            if arrival.stream == "metrics":
                for _, batch in sinks.telemetry_batches([record]):
                    self._history.note(arrival.node, batch)
            elif isinstance(arrival.body, FactsReport) and self._is_newest(arrival):
                self._facts_committed(arrival.node, arrival.body)
            results = results or arrival.stream == "results"
            reports = reports or arrival.stream == "reports"
            events = events or arrival.stream == "events"
        if results:
            self._reports_committed()
        if reports:
            self._configs.reported()
        if reports or events:
            self._tasks.reported()

    def _reject(self, arrival: Arrival, reason: str, detail: str) -> None:
        self._rejected.add(
            reason=reason,
            detail=detail,
            payload=arrival.wire,
            topic=arrival.topic.build(),
            node=arrival.node,
        )

    async def run_holes(self, online: Callable[[], Any]) -> None:
        """Asks for what is missing."""
        settings = self._settings
        while True:
            await asyncio.sleep(settings.holes_every_s)
            here = online()
            for key in self._shelf.with_holes():
                if key[0] not in here:
                    continue
                due = self._shelf.books[key].resends(
                    self._now_s(), open_s=settings.hole_open_s, again_s=settings.hole_again_s
                )
                if due:
                    log.info("records are missing and asked for", key="/".join(key), holes=due)
                    for message in resend(key, due, self._identity.lost_head(*key)):
                        await self._downlink.send(message)
