"""The outbox: records get their seq, and stay until they are acknowledged.

Results, events and reports are durable before they are sent. So are metrics, but for those that are
made while the link is good: they stay in memory, under seqs that were reserved on the disk, and are
written when the link goes, when one is unacknowledged for too long, and at stop. So a seq that the
center has seen is never given to another record.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from farshore_protocol.messages import CenterMark, Queue, StreamHead
from farshore_protocol.stream import RangeSet, Sender

from farshore_edge.database import (
    Change,
    CommandRow,
    Database,
    Loss,
    Record,
    SetAside,
    TaskChange,
)
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox.durable import DurableWay
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.held import BufferSettings, Held
from farshore_edge.outbox.journal import RETRY_S, Outage
from farshore_edge.outbox.losses import DATABASE_DAMAGED, DIED, DISK, Losses
from farshore_edge.outbox.opening import Opening
from farshore_edge.outbox.quota import Quota
from farshore_edge.outbox.room import Room
from farshore_edge.outbox.settling import Settling
from farshore_edge.outbox.standing import Standing
from farshore_edge.outbox.streams import METRICS, Stream
from farshore_edge.outbox.unwritable import Unwritable
from farshore_edge.outbox.volatile import Volatile

__all__ = ["DATABASE_DAMAGED", "DIED", "DISK", "BufferSettings", "Outbox"]

log = logging.getLogger(__name__)


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
        buffer: BufferSettings | None = None,
        quotas: Mapping[str, Quota] | None = None,
        draw_epoch: Callable[[], str] | None = None,
        asks: bool = False,
        obeyed: Callable[[], CenterMark | None] = lambda: None,
    ) -> None:
        """``now`` stamps records; ``woken`` is called when there is something new to send.

        ``draw_epoch``: for what is said while the disk can't be written; without it nothing is.
        ``asks``: nothing is sent before the center has answered how far it knows the streams.
        ``obeyed``: the mark of the center that acknowledged last.
        """
        self._database = database
        self._sender = sender
        self._now = now
        self._woken = woken
        self._streams: dict[str, Stream] = {}
        self.volatile = Volatile(draw_epoch) if draw_epoch is not None else None
        self._unwritable = Unwritable(self._streams, self.volatile, now=now, append=self.append)
        buffer = buffer or BufferSettings()
        self._losses = Losses(self._streams, sender, now)
        self._room = Room(
            database,
            sender,
            self._streams,
            self._losses,
            now=now,
            max_bytes=max_bytes,
            quotas=quotas or {},
        )
        self._durable = DurableWay(
            database,
            sender,
            self._streams,
            self._room,
            now=now,
            held=lambda: self._held,
            lost=lambda records: self._losses.declare(
                METRICS, self._held.never_durable(records), DISK
            ),
            recovered=self._unwritable.recovered,
            woken=woken,
            noted=lambda unanswered: self._opening.noted(unanswered),
            retry_s=retry_s,
        )
        self._journal = self._durable.journal
        self._opening = Opening(
            database,
            sender,
            self._streams,
            self._losses,
            self._journal,
            now=now,
            write=self._durable.write,
            at_rest=self._durable.at_rest,
            draw_epoch=draw_epoch,
            asks=asks,
        )
        self.gate = self._opening.gate
        self._standing = Standing(self._streams, sender, self._opening)
        self._held = Held(
            self._streams,
            sender,
            now=now,
            buffer=buffer,
            writable=lambda: self._journal.outage() is None,
            steady=self._opening.until_steady,
            start=self._durable.start,
        )
        self._settling = Settling(
            self._journal,
            settle_s=buffer.settle_s,
            spawn=self._durable.spawn,
            obeyed=obeyed,
        )

    # Starting

    def adopt(self) -> None:
        """There is a database now: ``recover`` is due. Raises DatabaseError, and nothing changed."""
        self._opening.adopt()

    async def recover(self, aside: SetAside | None = None) -> None:
        """After a start: what died in memory is declared lost, and what a database held that was
        damaged and set ``aside``. Without a database: nothing, and its disk is tried again."""
        await self._opening.recover(aside)

    async def answered(self) -> bool:
        """The center has said how far it knows each stream. Whether records may be sent now: a disk
        that went back in time begins a new epoch first, and has to be well for that."""
        may_send = await self._opening.answered()
        if may_send:
            self._durable.recent.clear()  # it may be of the epoch that ended
            self._woken()
        return may_send

    async def until_answered(self) -> SetAside | None:
        """Before it what this disk remembers may be less than what was; told once that it is."""
        return await self._opening.until_answered()

    # Writing

    async def append(
        self,
        stream: str,
        path: str,
        body: dict[str, Any],
        *,
        timing: Timing | None = None,
        commands: tuple[CommandRow, ...] = (),
        tasks: tuple[TaskChange, ...] = (),
    ) -> int:
        """A record of ``stream`` at topic ``path`` below the node; returns its seq once it is as
        safe as it is to be, 0 for one that is said from memory because the disk fails.

        ``commands`` and ``tasks`` are written to their books in the same transaction. When the
        database can't be written, all wait in memory and are tried again. RecordError: it can't
        travel, no seq was taken. A caller that is cancelled does not cancel the record.
        """
        timing = timing or self._now()
        if self._opening.absent is not None:
            if tasks:
                self._durable.start(Change(tasks=tasks))
            return self.say_from_memory(stream, path, body, timing=timing, commands=commands)
        await self._opening.until_steady()
        if stream == METRICS:
            if await self._held.reserved():
                return self._hold(path, body, timing)
            if self._held.comes_first() and self._unwritable_now():
                return self.say_from_memory(METRICS, path, body, timing=timing)
        return await self._durable.append(stream, path, [body], timing, commands, tasks)

    def _unwritable_now(self) -> bool:
        return self.volatile is not None and self._journal.outage() is not None

    async def append_many(self, stream: str, path: str, bodies: Sequence[dict[str, Any]]) -> int:
        """Records that become durable together; the last one's seq. Otherwise as ``append``."""
        if self._opening.absent is not None:
            return max((self.say_from_memory(stream, path, body) for body in bodies), default=0)
        await self._opening.until_steady()
        return await self._durable.append(stream, path, bodies, self._now(), ()) if bodies else 0

    # Memory first

    def link_is(self, *, good: bool) -> None:
        """Told by the courier; a good link carries records to a center that answers."""
        was, self._held.link_good = self._held.link_good, good
        if self.volatile is not None and good and not was:
            self.volatile.link_up()
        if was and not good:
            self._held.give_back()

    def _hold(self, path: str, body: dict[str, Any], timing: Timing) -> int:
        seq = self._held.hold(path, body, timing)
        self._woken()
        if self._held.too_much():
            self._held.spill()
        return seq

    def spill(self) -> None:
        """Writes what is in memory, and keeps what is left of the reservation."""
        self._held.spill()

    def spill_in_s(self) -> float | None:
        """Seconds until something has been unacknowledged in memory for too long."""
        return self._held.spill_in_s()

    # While the disk fails

    def can_say_from_memory(self) -> bool:
        return self.volatile is not None

    def note(self, change: Change) -> None:
        """Makes a change durable by and by."""
        self._durable.start(change)

    def say_from_memory(
        self,
        stream: str,
        path: str,
        body: dict[str, Any],
        *,
        timing: Timing | None = None,
        commands: tuple[CommandRow, ...] = (),
    ) -> int:
        """Says something without the disk, in an epoch of its own; ``commands`` wait for the disk.

        Raises RecordError as ``append`` does.
        """
        self._unwritable.say(stream, path, body, timing or self._now())
        if commands:
            self._durable.start(Change(commands=commands))
        self._woken()
        return 0

    def outage(self) -> Outage | None:
        return self._journal.outage()

    # Giving up

    async def declare_lost(
        self, stream: str, ranges: Iterable[tuple[int, int]], reason: str
    ) -> None:
        """What the center asks for and the outbox has not: a ledger line and an ``evt/loss`` each.

        Not for records that are on their way to the disk, nor for what such an event says already
        that the center has not acknowledged.
        """
        lost = self._losses.unsaid(stream, ranges)
        for first, last in lost:
            self._sender.dropped(stream, first, last)
        if lost:
            await self._durable.write(self._losses.declare(stream, lost, reason))

    # The center's word

    async def acknowledged(
        self, stream: str, epoch: str, ranges: Iterable[tuple[int, int]]
    ) -> None:
        """Deletes what the center has; losing this deletion only means to hear it again."""
        if self.volatile is not None and self.volatile.acknowledged(stream, epoch, ranges):
            return
        settled = RangeSet(self._sender.acknowledged(stream, epoch, ranges))
        if not settled:
            return
        self._durable.recent.forget(stream, settled)
        if stream == METRICS:
            self._held.acknowledged(settled)
        if settled:
            await self._settling.settle(stream, settled)

    # Reading

    def record(self, stream: str, seq: int) -> Record | None:
        """The record as it will be sent, None if the database has lost it.

        Raises DatabaseError when the database can't be asked.
        """
        held = self._held.record(seq) if stream == METRICS else None
        return held or self._durable.recent.record(stream, seq)

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

    def limit(self, max_bytes: int) -> None:
        """Another quota in bytes for all streams together; it counts from the next record on."""
        self._room.limit(max_bytes)

    def made(self) -> dict[str, int]:
        """The last seq of each stream, announced to the center or not."""
        return self._standing.made()

    def heads(self) -> dict[str, StreamHead]:
        """Where the streams stand, as far as it is sure: nothing else may be announced."""
        return self._standing.heads()

    def queues(self) -> dict[str, Queue]:
        """What each stream still has to send."""
        return self._standing.queues()

    async def written(self) -> None:
        """Waits for what is being written: only then does the sender know of all that was made."""
        while under_way := self._durable.writing | self._unwritable.promised:
            await asyncio.wait(under_way)

    async def close(self) -> None:
        """Writes what is in memory and gives back what was reserved; a last attempt at what could
        not be written."""
        self._settling.hurry()
        self._held.link_good = False
        self._held.give_back()
        await self.written()
        await self._journal.close()
        unsaid = self.volatile.unsaid() if self.volatile is not None else 0
        if unsaid:
            log.error("records in memory are lost at stop", extra={"records": unsaid})
