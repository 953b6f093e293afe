"""Ingest's loop: gather what came, decide, commit as one group, acknowledge after the commit.

Records that a person waits for are settled at once; telemetry alone may wait ``linger_s`` for
company, so that a thousand quiet nodes do not cost a sync each.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from farshore_protocol.codec import encode
from farshore_protocol.errors import MessageError
from farshore_protocol.link import Message
from farshore_protocol.messages import FactsReport, TimeRequest
from farshore_protocol.stream import Book, StreamAck
from farshore_protocol.topics import Down
from sqlalchemy import Connection

from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events.model import Draft
from farshore_center.events.service import EventLog
from farshore_center.ingest import clock, sinks, store
from farshore_center.ingest.arrival import Arrival
from farshore_center.ingest.engine import Decision, Greeting, Key, decide
from farshore_center.ingest.rejected import RejectedList
from farshore_center.telemetry.errors import BatchError
from farshore_center.telemetry.inbox import pack
from farshore_center.telemetry.service import TelemetryHistory

log = structlog.get_logger(__name__)


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
        rejected: RejectedList,
        *,
        now_ms: Callable[[], int],
        now_s: Callable[[], float],
        facts_committed: Callable[[str, FactsReport], None],
        reports_committed: Callable[[], None] = lambda: None,
        settings: IngestSettings | None = None,
    ) -> None:
        self._database = database
        self._events = events
        self._downlink = downlink
        self._history = history
        self._recorder = recorder
        self._rejected = rejected
        self._now_ms = now_ms
        self._now_s = now_s
        self._facts_committed = facts_committed
        self._reports_committed = reports_committed
        self._settings = settings or IngestSettings()
        self._queue: asyncio.Queue[Arrival | Greeting] = asyncio.Queue(self._settings.queue_records)
        self._urgent = asyncio.Event()
        self._books: dict[Key, Book] = {}
        self._loaded: set[str] = set()
        self._clocks: dict[tuple[str, str], int] = {}
        self._holey: set[Key] = set()
        self._busy = False
        self.counts = IngestCounts()

    async def submit(self, item: Arrival | Greeting) -> None:
        """Returns when there is room for it: the sender is slowed down, nothing is dropped."""
        await self._queue.put(item)
        crowded = self._queue.qsize() >= self._settings.group_records // 4
        if crowded or isinstance(item, Greeting) or item.stream != "metrics":
            self._urgent.set()

    async def exchanged_time(self, node: str, request: TimeRequest) -> None:
        """A time request places the node's boot on the center's clock."""
        await self._load([node])
        key = (node, request.boot)
        known = self._clocks.get(key)
        base_ms = clock.boot_base_ms(request, self._now_ms(), known)
        if base_ms == known:
            return
        self._clocks[key] = base_ms
        now_ms = self._now_ms()
        await self._database.write(
            lambda connection: store.save_boot_clock(
                connection, node=node, boot=request.boot, base_ms=base_ms, now_ms=now_ms
            )
        )

    async def run(self) -> None:
        while True:
            items = await self._gather()
            self._busy = True
            try:
                await self._settle(items)
            finally:
                self._busy = False

    async def _gather(self) -> list[Arrival | Greeting]:
        items = [await self._queue.get()]
        if isinstance(items[0], Arrival) and items[0].stream == "metrics":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._urgent.wait(), self._settings.linger_s)
        self._urgent.clear()
        while len(items) < self._settings.group_records and not self._queue.empty():
            items.append(self._queue.get_nowait())
        return items

    async def drained(self) -> None:
        """Returns when everything that was submitted is settled; for an orderly stop."""
        while self._busy or not self._queue.empty():
            self._urgent.set()
            await asyncio.sleep(0.01)

    async def _settle(self, items: list[Arrival | Greeting]) -> None:
        try:
            await self._load({item.node for item in items})
            items = [self._storable(item) for item in items]
            decision = decide(self._books, items)
            drafts = await self._commit(decision)
        except DatabaseError as exc:
            self.counts.failed_groups += 1
            self._forget({item.node for item in items})
            log.error("nothing could be committed; the nodes keep it", error=str(exc))
            await asyncio.sleep(self._settings.failure_pause_s)
            return
        self._count(decision)
        self._events.announce(drafts)
        self._tell_rooms(decision)
        await self._acknowledge(decision)

    def _storable(self, item: Arrival | Greeting) -> Arrival | Greeting:
        """A batch that the history could not read back is refused like any other wrong body."""
        if not isinstance(item, Arrival) or item.stream != "metrics" or item.body is None:
            return item
        try:
            for arrival, batch in sinks.telemetry_batches([self._timed(item)]):
                pack(arrival.node, batch, received_ms=0, wire=b"{}")
        except BatchError as exc:
            fault = MessageError("bad_message", f"TelemetryBatch: {exc}")
            return Arrival(
                node=item.node,
                stream=item.stream,
                topic=item.topic,
                envelope=item.envelope,
                body=None,
                wire=item.wire,
                fault=fault,
            )
        return item

    async def _load(self, nodes: Any) -> None:
        wanted = [node for node in nodes if node not in self._loaded]
        if not wanted:
            return
        found, clocks = await self._database.read(
            lambda connection: (
                store.load_books(connection, wanted),
                store.load_boot_clocks(connection, wanted),
            )
        )
        self._books.update(found)
        for key, base_ms in clocks.items():
            self._clocks.setdefault(key, base_ms)
        self._holey |= {key for key, book in found.items() if book.holes()}
        self._loaded.update(wanted)

    def _forget(self, nodes: set[str]) -> None:
        """The books in memory may say more than was committed: they are loaded again."""
        self._loaded -= nodes
        for key in [key for key in self._books if key[0] in nodes]:
            del self._books[key]
            self._holey.discard(key)

    def _timed(self, arrival: Arrival) -> sinks.Timed:
        base_ms = self._clocks.get((arrival.node, arrival.envelope.boot))
        at_ms, approximate = clock.correct(arrival.envelope, base_ms)
        return arrival, at_ms, approximate

    async def _commit(self, decision: Decision) -> Any:
        now_ms = self._now_ms()
        by_stream: dict[str, list[sinks.Timed]] = {}
        for arrival in decision.fresh:
            by_stream.setdefault(arrival.stream, []).append(self._timed(arrival))
        writes: list[sinks.Write] = []
        for stream, records in by_stream.items():
            writes.append(self._sink(stream, records, now_ms))
        rows = [store.book_row(key, self._books[key], now_ms) for key in decision.changed]
        if not rows and not writes:
            return []

        def work(connection: Connection) -> Any:
            drafts: list[Draft] = []
            for write in writes:
                drafts += write(connection)
            store.save_books(connection, rows)
            store.add_losses(connection, decision.lost, now_ms)
            return self._events.append(connection, drafts)

        return await self._database.write(work)

    def _sink(self, stream: str, records: list[sinks.Timed], now_ms: int) -> sinks.Write:
        match stream:
            case "metrics":
                return sinks.telemetry_write(records, now_ms)
            case "results":
                return sinks.results_write(records, self._recorder)
            case "reports":
                return sinks.reports_write(records, now_ms)
        return sinks.events_write(records)

    def _count(self, decision: Decision) -> None:
        self.counts.groups += 1
        self.counts.accepted += len(decision.fresh)
        self.counts.duplicates += decision.duplicates
        self.counts.refused += len(decision.faulty)
        self.counts.lost += sum(line.last - line.first + 1 for line in decision.lost)

    def _tell_rooms(self, decision: Decision) -> None:
        now_ms = self._now_ms()
        for arrival, fault in decision.faulty:
            self._reject(arrival, fault.reason, fault.detail)
        results = False
        for arrival in decision.fresh:
            timed = self._timed(arrival)
            if timed[2] and abs(timed[1] - now_ms) > clock.PLAUSIBLE_MS:
                detail = f"ts {arrival.envelope.ts}: far from now and not correctable; kept as approximate"
                self._reject(arrival, "clock", detail)
            if arrival.stream == "metrics":
                for _, batch in sinks.telemetry_batches([timed]):
                    self._history.note(arrival.node, batch)
            elif isinstance(arrival.body, FactsReport):
                self._facts_committed(arrival.node, arrival.body)
            results = results or arrival.stream == "results"
        if results:
            self._reports_committed()

    def _reject(self, arrival: Arrival, reason: str, detail: str) -> None:
        self._rejected.add(
            reason=reason,
            detail=detail,
            payload=arrival.wire,
            topic=arrival.topic.build(),
            node=arrival.node,
        )

    async def _acknowledge(self, decision: Decision) -> None:
        acks: dict[str, dict[str, StreamAck]] = {}
        for key in decision.changed:
            self._note_holes(key)
        for key in decision.acknowledge:
            node, stream, epoch = key
            ranges = self._books[key].acknowledgement()
            acks.setdefault(node, {})[stream] = StreamAck(epoch=epoch, ranges=ranges)
        for node, ack in acks.items():
            await self._send_ack(node, ack)

    def _note_holes(self, key: Key) -> None:
        book = self._books[key]
        # One range from 1 to the head is the common case, and cheap to see.
        if len(book.accepted.pairs()) == 1 and book.accepted.pairs()[0] == (1, book.head):
            self._holey.discard(key)
        elif book.holes():
            self._holey.add(key)
        else:
            self._holey.discard(key)

    async def _send_ack(self, node: str, ack: dict[str, StreamAck]) -> None:
        topic = Down(node=node, kind="ack").build()
        await self._downlink.send(Message(topic=topic, payload=encode(ack)))

    async def run_holes(self, online: Callable[[], Any]) -> None:
        """Asks for what is missing."""
        settings = self._settings
        while True:
            await asyncio.sleep(settings.holes_every_s)
            here = online()
            for key in sorted(self._holey):
                node, stream, epoch = key
                book = self._books.get(key)
                if book is None or node not in here:
                    continue
                due = book.resends(
                    self._now_s(), open_s=settings.hole_open_s, again_s=settings.hole_again_s
                )
                if due:
                    log.info(
                        "records are missing and asked for", node=node, stream=stream, holes=due
                    )
                    await self._send_ack(node, {stream: StreamAck(epoch=epoch, resend=due)})
