"""The durable outbox: records get their seq, become durable, and stay until they are acknowledged.

A record is sent only after it is durable: a seq that the center has seen is never given to another
record. What the quota drops is written to the loss ledger in the same transaction.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from farshore_protocol.messages import Queue, StreamHead
from farshore_protocol.stream import RangeSet, Sender

from farshore_edge.database import Change, CommandRow, Database, Freed, Loss, Record
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox.envelope import seal
from farshore_edge.outbox.journal import RETRY_S, Journal
from farshore_edge.outbox.quota import allowed_bytes, give_up

log = logging.getLogger(__name__)

CACHED_RECORDS = 64
METRICS = "metrics"
QUOTA = "quota"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When something was: see ``farshore_protocol.messages.record``."""

    boot: str
    up_ms: int
    ts: int
    synced: bool

    def fields(self) -> dict[str, Any]:
        return {"boot": self.boot, "up_ms": self.up_ms, "ts": self.ts, "synced": self.synced}


@dataclass(slots=True)
class _Stream:
    """``head``: the last seq given out; ``durable``: the last that is durable and may be announced.

    ``bytes`` counts what is durable and what is becoming so; ``pending`` are the seqs of the latter.
    """

    epoch: str
    head: int
    durable: int
    bytes: int
    pending: RangeSet


class Outbox:
    def __init__(
        self,
        database: Database,
        sender: Sender,
        *,
        now: Callable[[], Timing],
        max_bytes: int,
        woken: Callable[[], None],
        retry_s: float = RETRY_S,
    ) -> None:
        """``now`` stamps records; ``woken`` is called when there is something new to send."""
        self._database = database
        self._sender = sender
        self._now = now
        self._max_bytes = max_bytes
        self._woken = woken
        self._journal = Journal(
            database, applied=self._applied, lost=self._never_durable, retry_s=retry_s
        )
        self._cache: dict[tuple[str, int], Record] = {}
        self._writing: set[asyncio.Task[Any]] = set()
        self._making_room = False
        self._declared: list[tuple[str, int, int, int]] = []
        self._streams: dict[str, _Stream] = {}
        for name, state in database.streams().items():
            self._streams[name] = _Stream(
                state.epoch, state.head, state.head, state.bytes, RangeSet()
            )
            sender.open(name, epoch=state.epoch, kept=state.kept, head=state.head)

    # Writing

    async def append(
        self,
        stream: str,
        path: str,
        body: dict[str, Any],
        *,
        timing: Timing | None = None,
        commands: tuple[CommandRow, ...] = (),
    ) -> int:
        """A record of ``stream`` at topic ``path`` below the node; returns its seq once durable.

        ``commands`` are written to the ledger in the same transaction. When the database can't be
        written, both wait in memory and are tried again. RecordError: it can't travel, no seq was
        taken. A caller that is cancelled does not cancel the record.
        """
        record = self._seal(stream, path, body, timing or self._now())
        room = self._room() if stream == METRICS else Change()
        change = Change(
            records=(record, *room.records),
            settled=room.settled,
            losses=room.losses,
            commands=commands,
        )
        await self._write(change)
        return record.seq

    async def _write(self, change: Change) -> None:
        """Goes on even if the caller is cancelled; ``close`` waits for it."""
        task = asyncio.create_task(self._journal.write(change))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        await asyncio.shield(task)

    def _seal(self, stream: str, path: str, body: dict[str, Any], timing: Timing) -> Record:
        state = self._streams[stream]
        seq = state.head + 1
        payload = seal(
            body,
            epoch=state.epoch,
            seq=seq,
            timing=timing.fields(),
            compress=stream == METRICS,  # the rest stays readable for people at a broker
        )
        state.head = seq
        state.bytes += len(payload)
        state.pending.add(seq)
        return Record(stream=stream, seq=seq, path=path, payload=payload)

    def _applied(self, change: Change, freed: Freed) -> None:
        """The change is durable: what it holds may be sent now."""
        for stream, size in freed.items():
            self._streams[stream].bytes -= size
        if any(loss.reason == QUOTA for loss in change.losses):
            self._making_room = False
        for record in change.records:
            state = self._streams[record.stream]
            state.pending.discard(record.seq)
            state.durable = max(state.durable, record.seq)
            self._cache[record.stream, record.seq] = record
            self._sender.appended(record.stream, record.seq)
        while len(self._cache) > CACHED_RECORDS:
            del self._cache[next(iter(self._cache))]
        if change.records:
            self._woken()

    # Giving up

    def _room(self) -> Change:
        """What the quota drops: it is not sent from now on, and gone with the next commit."""
        sizes = {name: state.bytes for name, state in self._streams.items()}
        held = sizes.pop(METRICS)
        allowed = allowed_bytes(self._max_bytes, others=sum(sizes.values()))
        if held <= allowed or self._making_room:
            return Change()
        ranges = give_up(self._sender.kept(METRICS), bytes_held=held, bytes_allowed=allowed)
        if not ranges:
            return Change()
        gone = sum(last - first + 1 for first, last in ranges)
        log.warning("the outbox is full; the oldest metrics are given up", extra={"records": gone})
        for first, last in ranges:
            self._sender.dropped(METRICS, first, last)
        self._making_room = True
        return self._loss(METRICS, ranges, QUOTA)

    def _never_durable(self, records: Sequence[Record]) -> Change:
        """Metrics that the journal gives up before they ever reached the disk."""
        state, ranges = self._streams[METRICS], RangeSet()
        for record in records:
            ranges.add(record.seq)
            state.pending.discard(record.seq)
            state.bytes -= len(record.payload)
        return self._loss(METRICS, ranges, "disk")

    def _loss(self, stream: str, ranges: Iterable[tuple[int, int]], reason: str) -> Change:
        """For each range an ``evt/loss``, a ledger line, and the deletion of what there may be."""
        epoch, timing = self._streams[stream].epoch, self._now()
        self._declared = self._declarations()
        records, losses = [], []
        for first, last in ranges:
            data = {"stream": stream, "epoch": epoch, "range": [first, last], "reason": reason}
            record = self._seal("events", "evt/loss", {"data": data}, timing)
            self._declared.append((stream, first, last, record.seq))
            records.append(record)
            losses.append(
                Loss(
                    stream=stream,
                    epoch=epoch,
                    first=first,
                    last=last,
                    reason=reason,
                    at_ms=timing.ts,
                )
            )
        settled = [(loss.stream, loss.first, loss.last) for loss in losses]
        return Change(records=records, settled=settled, losses=losses)

    def _declarations(self) -> list[tuple[str, int, int, int]]:
        """Stream, first and last of what is declared lost, and the event's seq while it is unsent."""
        events = RangeSet(self._sender.kept("events"))
        events.update(self._streams["events"].pending)
        return [entry for entry in self._declared if entry[3] in events]

    async def declare_lost(
        self, stream: str, ranges: Iterable[tuple[int, int]], reason: str
    ) -> None:
        """What the center asks for and the outbox has not: a ledger line and an ``evt/loss`` each.

        Not for records that are on their way to the disk, nor for what such an event says already
        that the center has not acknowledged.
        """
        said = self._streams[stream].pending.copy()
        for declared, first, last, _ in self._declarations():
            if declared == stream:
                said.add(first, last)
        lost = [part for first, last in ranges for part in said.missing(first, last)]
        for first, last in lost:
            self._sender.dropped(stream, first, last)
        if lost:
            await self._write(self._loss(stream, lost, reason))

    # The center's word

    async def acknowledged(
        self, stream: str, epoch: str, ranges: Iterable[tuple[int, int]]
    ) -> None:
        """Deletes what the center has; losing this deletion only means to hear it again."""
        settled = self._sender.acknowledged(stream, epoch, ranges)
        if not settled:
            return
        held = RangeSet(settled)
        for key in [key for key in self._cache if key[0] == stream and key[1] in held]:
            del self._cache[key]
        await self._write(Change(settled=[(stream, a, b) for a, b in settled]))

    # Reading

    def record(self, stream: str, seq: int) -> Record | None:
        """The record as it will be sent, None if the database has lost it.

        Raises DatabaseError when the database can't be asked.
        """
        cached = self._cache.get((stream, seq))
        if cached is not None:
            return cached
        return self._database.records(stream, (seq,)).get(seq)

    def losses(self) -> list[Loss]:
        """The ledger of losses, none while it can't be read."""
        try:
            return self._database.losses()
        except DatabaseError as exc:
            log.error("the loss ledger can't be read", extra={"error": str(exc)})
            return []

    def command(self, command_id: str) -> CommandRow | None:
        """The ledger's newest row of a command, durable or not yet. Raises DatabaseError."""
        return self._journal.command(command_id) or self._database.command(command_id)

    def heads(self) -> dict[str, StreamHead]:
        """Where the streams stand, as far as it is durable: nothing else may be announced."""
        return {
            name: StreamHead(
                epoch=state.epoch, head=state.durable, records=self._sender.unsent(name)
            )
            for name, state in self._streams.items()
        }

    def queues(self) -> dict[str, Queue]:
        return {
            name: Queue(
                records=self._sender.unsent(name), bytes=max(0, state.bytes), head=state.durable
            )
            for name, state in self._streams.items()
        }

    async def close(self) -> None:
        """Waits for what is being written; a last attempt at what could not be."""
        while self._writing:
            await asyncio.wait(self._writing)
        await self._journal.close()
