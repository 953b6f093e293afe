"""The durable outbox: records get their seq, become durable, and stay until they are acknowledged.

A record is sent only after it is durable: a seq that the center has seen is never given to another
record. What the quota drops is written to the loss ledger in the same transaction.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from farshore_protocol.messages import Queue, StreamHead
from farshore_protocol.stream import Sender

from farshore_edge.database import Change, CommandRow, Database, Loss, Record
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox.envelope import seal
from farshore_edge.outbox.quota import give_up

log = logging.getLogger(__name__)

CACHED_RECORDS = 64
UNSAVED_MAX = 10_000
RETRY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When something was: see ``farshore_protocol.messages.record``."""

    boot: str
    up_ms: int
    ts: int
    synced: bool

    def fields(self) -> dict[str, Any]:
        return {"boot": self.boot, "up_ms": self.up_ms, "ts": self.ts, "synced": self.synced}


class Outbox:
    def __init__(
        self,
        database: Database,
        sender: Sender,
        *,
        now: Callable[[], Timing],
        max_bytes: int,
        woken: Callable[[], None],
    ) -> None:
        """``now`` stamps records; ``woken`` is called when there is something new to send."""
        self._database = database
        self._sender = sender
        self._now = now
        self._max_bytes = max_bytes
        self._woken = woken
        self._cache: dict[tuple[str, int], Record] = {}
        self._unsaved: list[Record] = []
        self._retry: asyncio.Task[None] | None = None
        self._epoch: dict[str, str] = {}
        self._head: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        for stream, state in database.streams().items():
            self._epoch[stream], self._head[stream] = state.epoch, state.head
            self._bytes[stream] = state.bytes
            sender.open(stream, epoch=state.epoch, kept=state.kept, head=state.head)

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
        written, a record without ledger rows waits in memory and is tried again; one with them
        raises DatabaseError, because nothing may be done that the ledger does not know.

        A caller that is cancelled does not cancel the record: its seq is taken.
        """
        return await asyncio.shield(self._append(stream, path, body, timing, commands))

    async def _append(
        self,
        stream: str,
        path: str,
        body: dict[str, Any],
        timing: Timing | None,
        commands: tuple[CommandRow, ...],
    ) -> int:
        record = self._seal(stream, path, body, timing or self._now())
        extra = self._make_room() if stream == "metrics" else ([], [], [])
        change = Change(
            records=(record, *extra[0]), settled=extra[1], losses=extra[2], commands=commands
        )
        try:
            await self._database.commit(change)
        except DatabaseError as exc:
            if commands:
                self._keep_unsaved([record])
                raise
            log.error("the outbox can't be written; the record waits in memory", exc_info=exc)
            self._keep_unsaved([record, *extra[0]])
            return record.seq
        for dropped_stream, first, last in extra[1]:
            self._sender.dropped(dropped_stream, first, last)
        self._now_durable(change.records)
        return record.seq

    def _seal(self, stream: str, path: str, body: dict[str, Any], timing: Timing) -> Record:
        seq = self._head[stream] + 1
        payload = seal(
            body,
            epoch=self._epoch[stream],
            seq=seq,
            timing=timing.fields(),
            compress=stream == "metrics",  # the rest stays readable for people at a broker
        )
        self._head[stream] = seq
        self._bytes[stream] += len(payload)
        return Record(stream=stream, seq=seq, path=path, payload=payload)

    def _now_durable(self, records: Iterable[Record]) -> None:
        for record in records:
            self._cache[record.stream, record.seq] = record
            self._sender.appended(record.stream, record.seq)
        while len(self._cache) > CACHED_RECORDS:
            del self._cache[next(iter(self._cache))]
        self._woken()

    def _keep_unsaved(self, records: list[Record]) -> None:
        room = UNSAVED_MAX - len(self._unsaved)
        self._unsaved += records[:room]
        if self._retry is None or self._retry.done():
            self._retry = asyncio.create_task(self._save_again())

    async def _save_again(self) -> None:
        while self._unsaved:
            await asyncio.sleep(RETRY_S)
            records = list(self._unsaved)
            try:
                await self._database.commit(Change(records=records))
            except DatabaseError as exc:
                log.error(
                    "the outbox still can't be written",
                    extra={"records_in_memory": len(records), "error": str(exc)},
                )
                continue
            del self._unsaved[: len(records)]
            log.info("the outbox can be written again", extra={"records": len(records)})
            self._now_durable(records)

    def _make_room(
        self,
    ) -> tuple[list[Record], list[tuple[str, int, int]], list[Loss]]:
        """What the quota drops: event records that say so, ranges to delete, ledger lines."""
        kept = self._sender.kept("metrics")
        ranges = give_up(kept, bytes_held=self._bytes["metrics"], bytes_allowed=self._max_bytes)
        if not ranges:
            return [], [], []
        held = sum(last - first + 1 for first, last in kept)
        gone = sum(last - first + 1 for first, last in ranges)
        self._bytes["metrics"] -= round(self._bytes["metrics"] * gone / max(1, held))
        log.warning("the outbox is full; the oldest metrics are given up", extra={"records": gone})
        return self._loss_records("metrics", ranges, "quota")

    def _loss_records(
        self, stream: str, ranges: Iterable[tuple[int, int]], reason: str
    ) -> tuple[list[Record], list[tuple[str, int, int]], list[Loss]]:
        epoch, timing = self._epoch[stream], self._now()
        records, settled, losses = [], [], []
        for first, last in ranges:
            body = {
                "data": {"stream": stream, "epoch": epoch, "range": [first, last], "reason": reason}
            }
            records.append(self._seal("events", "evt/loss", body, timing))
            settled.append((stream, first, last))
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
        return records, settled, losses

    async def declare_lost(
        self, stream: str, ranges: Iterable[tuple[int, int]], reason: str
    ) -> None:
        """What the center asks for and the outbox has not: a ledger line and an ``evt/loss`` each."""
        records, settled, losses = self._loss_records(stream, ranges, reason)
        if not records:
            return
        try:
            await self._database.commit(Change(records=records, settled=settled, losses=losses))
        except DatabaseError as exc:
            log.error("the loss ledger can't be written", extra={"error": str(exc)})
            self._keep_unsaved(records)
            return
        for stream_, first, last in settled:
            self._sender.dropped(stream_, first, last)
        self._now_durable(records)

    # The center's word

    async def acknowledged(
        self, stream: str, epoch: str, ranges: Iterable[tuple[int, int]]
    ) -> None:
        """Deletes what the center has; losing this deletion only means to hear it again."""
        held = self._sender.unsent(stream) if stream in self._head else 0
        settled = self._sender.acknowledged(stream, epoch, ranges)
        if not settled:
            return
        gone = sum(last - first + 1 for first, last in settled)
        self._bytes[stream] -= round(self._bytes[stream] * min(1.0, gone / max(1, held)))
        for first, last in settled:
            for seq in range(first, last + 1) if last - first < CACHED_RECORDS else ():
                self._cache.pop((stream, seq), None)
        try:
            await self._database.commit(Change(settled=[(stream, a, b) for a, b in settled]))
        except DatabaseError as exc:
            log.error("acknowledged records can't be deleted", extra={"error": str(exc)})

    # Reading

    def record(self, stream: str, seq: int) -> Record | None:
        """The record as it will be sent, None if the database has lost it."""
        cached = self._cache.get((stream, seq))
        if cached is not None:
            return cached
        return self._database.records(stream, (seq,)).get(seq)

    def heads(self) -> dict[str, StreamHead]:
        return {
            stream: StreamHead(
                epoch=self._epoch[stream], head=head, records=self._sender.unsent(stream)
            )
            for stream, head in self._head.items()
        }

    def queues(self) -> dict[str, Queue]:
        return {
            stream: Queue(
                records=self._sender.unsent(stream), bytes=max(0, self._bytes[stream]), head=head
            )
            for stream, head in self._head.items()
        }

    def epoch(self, stream: str) -> str:
        return self._epoch[stream]

    async def close(self) -> None:
        """A last attempt at what could not be written."""
        if self._retry is not None:
            self._retry.cancel()
        if self._unsaved:
            try:
                await self._database.commit(Change(records=list(self._unsaved)))
            except DatabaseError as exc:
                log.error("records in memory are lost at stop", extra={"error": str(exc)})
