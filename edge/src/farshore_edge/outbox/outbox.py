"""The outbox: records get their seq, and stay until they are acknowledged.

Results, events and reports are durable before they are sent. So are metrics, but for those that are
made while the link is good: they stay in memory, under seqs that were reserved on the disk, and are
written when the link goes, when one is unacknowledged for too long, and at stop. So a seq that the
center has seen is never given to another record.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from farshore_protocol.messages import Queue, StreamHead
from farshore_protocol.stream import STREAMS, RangeSet, Sender

from farshore_edge.database import (
    Change,
    CommandRow,
    Database,
    Freed,
    Loss,
    Record,
    SetAside,
    StreamState,
)
from farshore_edge.errors import DatabaseError, DiskError
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.journal import RETRY_S, Journal, Outage
from farshore_edge.outbox.losses import Losses
from farshore_edge.outbox.quota import Quota
from farshore_edge.outbox.rewind import Gate
from farshore_edge.outbox.room import Room
from farshore_edge.outbox.streams import METRICS, Stream
from farshore_edge.outbox.turning import turned
from farshore_edge.outbox.volatile import Volatile, Word

log = logging.getLogger(__name__)

CACHED_RECORDS = 64
AHEAD_RECORDS = 128
"""Read at once when one of them is to be sent."""
OUTAGE_TOLD_MS = 1_000
"""A shorter one is no news."""
DISK = "disk"
DIED = "agent died; at most these"
DATABASE_DAMAGED = "database damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferSettings:
    """``spill_after_s``: how long a record may be unacknowledged in memory; 0 keeps none there.

    ``block``: seqs that are reserved at once, and so what a crash can put at risk at most.
    ``settle_s``: how long acknowledged records may wait to be deleted together.
    """

    spill_after_s: float = 30.0
    block: int = 64
    memory_max_bytes: int = 1024 * 1024
    settle_s: float = 0.0


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
    ) -> None:
        """``now`` stamps records; ``woken`` is called when there is something new to send.

        ``draw_epoch``: for what is said while the disk can't be written; without it nothing is.
        ``asks``: nothing is sent before the center has answered how far it knows the streams.
        """
        self._database = database
        self._sender = sender
        self._now = now
        self._woken = woken
        self._buffer = buffer or BufferSettings()
        self._journal = Journal(
            database,
            applied=self._applied,
            lost=self._never_durable,
            now=now,
            recovered=self._recovered,
            retry_s=retry_s,
        )
        self._streams: dict[str, Stream] = {}
        self._at_risk: list[tuple[str, int, int]] = []
        self._absent: DiskError | None = None
        try:
            self._open(database.streams())
        except DiskError as exc:
            self._absent = exc
            self._streams.update((name, Stream.none()) for name in STREAMS)
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
        self._draw_epoch = draw_epoch
        self._asks = asks
        self._began: dict[str, int] = {}
        self._before: dict[str, int] = {}
        self.gate = Gate({}, {})
        self._answered = asyncio.Event()
        if asks and self._absent is None:
            self._ask()
        else:
            self.gate.open = True
            self._answered.set()
        self._rewound: SetAside | None = None
        self._steady = asyncio.Event()
        self._steady.set()
        self.volatile = Volatile(draw_epoch) if draw_epoch is not None else None
        self._cache: dict[tuple[str, int], Record] = {}
        self._ahead: dict[tuple[str, int], Record] = {}
        self._held: dict[int, tuple[Record, int]] = {}
        self._held_bytes = 0
        self._spilling = RangeSet()
        self._link_good = False
        self._settled: dict[str, RangeSet] = {}
        self._settling: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._writing: set[asyncio.Task[Any]] = set()
        self._promised: set[asyncio.Task[Any]] = set()

    # Starting

    def _open(self, states: Mapping[str, StreamState]) -> None:
        for name, state in states.items():
            self._streams[name] = Stream.of(state)
            self._sender.open(
                name, epoch=state.epoch, kept=state.kept, head=self._streams[name].head
            )
            if state.reserved > state.head:
                self._at_risk.append((name, state.head + 1, state.reserved))

    def _ask(self) -> None:
        """The center is to say how far it knows these streams, before anything of them is sent."""
        self._began = {name: stream.head for name, stream in self._streams.items()}
        self._before = {**self._began, **self._database.unanswered()}
        self.gate.shut({n: s.epoch for n, s in self._streams.items()}, self._before)
        self._answered.clear()

    def adopt(self) -> None:
        """There is a database now: ``recover`` is due. Raises DatabaseError, and nothing changed."""
        states = self._database.streams()
        self._journal.forget_commands(lambda known: self._database.command(known) is not None)
        self._open(states)
        if self._asks:
            self._ask()
        self._absent = None

    async def recover(self, aside: SetAside | None = None) -> None:
        """After a start: what died in memory is declared lost, and what a database held that was
        damaged and set ``aside``. Without a database: nothing, and its disk is tried again."""
        if self._absent is not None:
            self._journal.begin_unwritable(self._absent)
            return
        marks, at_risk, change = [], self._at_risk, Change()
        self._at_risk = []
        for stream, first, last in at_risk:
            lost = self._losses.declare(stream, [(first, last)], DIED)
            marks.append(self._streams[stream].mark(stream, 0))
            change = _joined(change, replace(lost, marks=[marks[-1]]))
        if aside is not None and not aside.told:
            change = _joined(change, self._set_aside(aside))
        if not self.gate.open and not self._database.unanswered():
            change = replace(change, unanswered=self._before)
        if change.records or change.unanswered is not None:
            await self._write(change)

    async def answered(self) -> bool:
        """The center has said how far it knows each stream. Whether records may be sent now: a disk
        that went back in time begins a new epoch first, and has to be well for that."""
        if not self.gate.rewound():
            # Durable first: what is sent from now on must not look like another disk's later.
            await self._write(Change(unanswered={}))
            self.gate.open = True
        elif not await self._turned():
            return False
        self._answered.set()
        self._woken()
        return True

    async def until_answered(self) -> SetAside | None:
        """Before it what this disk remembers may be less than what was; told once that it is."""
        await self._answered.wait()
        rewound, self._rewound = self._rewound, None
        return rewound

    async def _turned(self) -> bool:
        self._steady.clear()  # nobody gets a seq of the epoch that ends
        try:
            while self._writing:
                await asyncio.wait(self._writing)
            if self._draw_epoch is None or self._journal.outage() is not None:
                return False
            turn = turned(
                self._database,
                self._sender,
                self._streams,
                self.gate.answers,
                before=self._before,
                began=self._began,
                sent=self.gate.sent,
                epoch=self._draw_epoch(),
                now=self._now,
            )
            await self._database.commit(turn.change)
        except DatabaseError as exc:
            log.error("a new epoch can't be begun", extra={"error": str(exc)})
            return False
        finally:
            self._steady.set()
        self._streams.update(turn.streams)
        for name, stream in turn.streams.items():
            kept = [(1, stream.head)] if stream.head else []
            self._sender.open(name, epoch=stream.epoch, kept=kept, head=stream.head)
        self._cache.clear()
        self._ahead.clear()
        self._rewound = turn.change.aside
        self.gate.open = True
        log.error(
            "the center knows more than this disk: it went back in time; a new epoch is begun",
            extra={"records": len(turn.change.records), "lost": len(turn.change.losses)},
        )
        return True

    def _set_aside(self, aside: SetAside) -> Change:
        data = {
            "state": "set_aside",
            "file": aside.file,
            "error": aside.reason,
            "at": aside.at_ms,
        }
        told = self._event("evt/outbox", data)
        lost = self._losses.of_another_epoch(aside.lost, DATABASE_DAMAGED)
        return replace(lost, records=[told, *lost.records], aside=replace(aside, told=True))

    def _event(self, path: str, data: dict[str, Any]) -> Record:
        record = self._streams["events"].seal("events", path, {"data": data}, self._now())
        self._streams["events"].pending.add(record.seq)
        return record

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
        """A record of ``stream`` at topic ``path`` below the node; returns its seq once it is as
        safe as it is to be, 0 for one that is said from memory because the disk fails.

        ``commands`` are written to the ledger in the same transaction. When the database can't be
        written, both wait in memory and are tried again. RecordError: it can't travel, no seq was
        taken. A caller that is cancelled does not cancel the record.
        """
        timing = timing or self._now()
        if self._absent is not None:
            return self.say_from_memory(stream, path, body, timing=timing, commands=commands)
        await self._steady.wait()
        if stream == METRICS and self._memory_first():
            if not self._streams[METRICS].left() and self._journal.outage() is None:
                await self._write(self._spill(self._buffer.block))
            if self._streams[METRICS].left():
                return self._hold(path, body, timing)
            if self.volatile is not None and self._link_good:
                return self.say_from_memory(METRICS, path, body, timing=timing)
        return await self._append(stream, path, [body], timing, commands)

    async def append_many(self, stream: str, path: str, bodies: Sequence[dict[str, Any]]) -> int:
        """Records that become durable together; the last one's seq. Otherwise as ``append``."""
        if self._absent is not None:
            return max((self.say_from_memory(stream, path, body) for body in bodies), default=0)
        await self._steady.wait()
        return await self._append(stream, path, bodies, self._now(), ()) if bodies else 0

    async def _append(
        self,
        stream: str,
        path: str,
        bodies: Sequence[dict[str, Any]],
        timing: Timing,
        commands: tuple[CommandRow, ...],
    ) -> int:
        state = self._streams[stream]
        records = state.seal_all(stream, path, bodies, timing)
        state.pending.add(records[0].seq, records[-1].seq)
        change = self._room.make(stream)
        if stream == METRICS and self._unspilt():
            change = _joined(self._spill(0), change)
        await self._write(
            Change(
                records=[*records, *change.records],
                settled=change.settled,
                losses=change.losses,
                commands=commands,
                marks=change.marks,
            )
        )
        return records[-1].seq

    async def _write(self, change: Change) -> None:
        """Goes on even if the caller is cancelled; ``close`` waits for it."""
        await asyncio.shield(self._start(change))

    def _start(self, change: Change) -> "asyncio.Task[None]":
        task = asyncio.create_task(self._journal.write(change))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        return task

    def _applied(self, change: Change, freed: Freed) -> None:
        """The change is durable: what it holds may be sent now."""
        for stream, size in freed.items():
            self._streams[stream].bytes -= size
        self._room.made(change)
        self._streams[METRICS].marked(change.marks)
        for stream, first, last in _together(change.records):
            state = self._streams[stream]
            state.pending.discard(first, last)
            state.told = max(state.told, last)
            for part in self._not_spilt(first, last) if stream == METRICS else [(first, last)]:
                self._sender.appended(stream, *part)
        for record in change.records[-CACHED_RECORDS:]:
            self._cache[record.stream, record.seq] = record
        while len(self._cache) > CACHED_RECORDS:
            del self._cache[next(iter(self._cache))]
        if change.records:
            self._woken()

    # Memory first

    def link_is(self, *, good: bool) -> None:
        """Told by the courier; a good link carries records to a center that answers."""
        was, self._link_good = self._link_good, good
        if self.volatile is not None and good and not was:
            self.volatile.link_up()
        if was and not good and (self._unspilt() or self._streams[METRICS].left()):
            self._start(self._spill(0))

    def _memory_first(self) -> bool:
        return self._link_good and self._buffer.spill_after_s > 0

    def _hold(self, path: str, body: dict[str, Any], timing: Timing) -> int:
        """A record in memory alone, to be sent at once: its seq is reserved."""
        state = self._streams[METRICS]
        record = state.seal(METRICS, path, body, timing)
        self._held[record.seq] = record, self._now().up_ms
        self._held_bytes += len(record.payload)
        state.told = max(state.told, record.seq)
        self._sender.appended(METRICS, record.seq)
        self._woken()
        if self._held_bytes > self._buffer.memory_max_bytes:
            self.spill()
        return record.seq

    def _unspilt(self) -> list[Record]:
        return [record for seq, (record, _) in self._held.items() if seq not in self._spilling]

    def _spill(self, block: int) -> Change:
        """All that is in memory, and a mark: what is below it is safe, ``block`` seqs are reserved."""
        state, records = self._streams[METRICS], self._unspilt()
        for record in records:
            self._spilling.add(record.seq)
            state.pending.add(record.seq)
        return Change(records=records, marks=[state.mark(METRICS, block)])

    def spill(self) -> None:
        """Writes what is in memory, and keeps what is left of the reservation."""
        if self._unspilt():
            self._start(self._spill(self._streams[METRICS].left()))

    def _not_spilt(self, first: int, last: int) -> list[tuple[int, int]]:
        """Those of the records on the disk that were not in memory before, and known to the sender
        since; the others need not be held any more."""
        others = self._spilling.missing(first, last)
        for low, high in self._spilling.within(first, last):
            self._spilling.discard(low, high)
            for seq in range(low, high + 1):
                self._let_go(seq)
        return others

    def _let_go(self, seq: int) -> int:
        """Of a record in memory; its size."""
        held = self._held.pop(seq, None)
        size = len(held[0].payload) if held is not None else 0
        self._held_bytes -= size
        return size

    def spill_in_s(self) -> float | None:
        """Seconds until something has been unacknowledged in memory for too long."""
        oldest = next(
            (at for seq, (_, at) in self._held.items() if seq not in self._spilling), None
        )
        if oldest is None:
            return None
        return self._buffer.spill_after_s - (self._now().up_ms - oldest) / 1000

    # While the disk fails

    def can_say_from_memory(self) -> bool:
        return self.volatile is not None

    def note(self, change: Change) -> None:
        """Makes a change durable by and by."""
        self._start(change)

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
        if self.volatile is None:
            raise RuntimeError("no epoch to speak from memory in")
        timing = timing or self._now()
        replace(self._streams[stream], epoch="x" * 16).seal(stream, path, body, timing)
        self.volatile.put(Word(stream=stream, path=path, body=body, timing=timing))
        if commands:
            self._start(Change(commands=commands))
        self._woken()
        return 0

    def outage(self) -> Outage | None:
        return self._journal.outage()

    def _recovered(self, outage: Outage) -> None:
        """The disk is well: what waits in memory goes the durable way, and the center is told."""
        said = given_up = 0
        if self.volatile is not None:
            said, given_up = self.volatile.said, self.volatile.given_up
            self.volatile.said = self.volatile.given_up = 0
            for word in self.volatile.take_waiting():
                self._later(self.append(word.stream, word.path, word.body, timing=word.timing))
        now = self._now()
        if now.up_ms - outage.since.up_ms < OUTAGE_TOLD_MS:
            return
        data = {
            "state": "recovered",
            "since": outage.since.ts,
            "lasted_s": (now.up_ms - outage.since.up_ms) / 1000,
            "error": outage.error[:500],
            "sent_from_memory": said,
            "given_up": given_up,
        }
        self._later(self.append("events", "evt/outbox", {"data": data}))

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._promised.add(task)
        task.add_done_callback(self._promised.discard)

    # Giving up

    def _never_durable(self, records: Sequence[Record]) -> Change:
        """Metrics that the journal gives up before they ever reached the disk."""
        state, ranges = self._streams[METRICS], RangeSet()
        for record in records:
            ranges.add(record.seq)
            state.pending.discard(record.seq)
            state.bytes -= len(record.payload)
            if record.seq in self._spilling:
                self._spilling.discard(record.seq)
                self._let_go(record.seq)
                self._sender.dropped(METRICS, record.seq, record.seq)
        return self._losses.declare(METRICS, ranges, DISK)

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
            await self._write(self._losses.declare(stream, lost, reason))

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
        for cache in (self._cache, self._ahead):
            for key in [key for key in cache if key[0] == stream and key[1] in settled]:
                del cache[key]
        if stream == METRICS:
            for seq in [seq for seq in self._held if seq in settled and seq not in self._spilling]:
                self._streams[METRICS].bytes -= self._let_go(seq)
                settled.discard(seq)
        if settled:
            self._settled.setdefault(stream, RangeSet()).update(settled)
            if self._settling is None or self._settling.done():
                self._settling = asyncio.create_task(self._settle())
                self._writing.add(self._settling)
                self._settling.add_done_callback(self._writing.discard)
            if not self._buffer.settle_s:
                await asyncio.shield(self._settling)

    async def _settle(self) -> None:
        while self._settled:
            if self._buffer.settle_s and not self._hurry.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._buffer.settle_s):
                        await self._hurry.wait()
            gone, self._settled = self._settled, {}
            ranges = [(stream, a, b) for stream, parts in gone.items() for a, b in parts]
            await self._journal.write(Change(settled=ranges))

    # Reading

    def record(self, stream: str, seq: int) -> Record | None:
        """The record as it will be sent, None if the database has lost it.

        Raises DatabaseError when the database can't be asked.
        """
        if stream == METRICS and seq in self._held:
            return self._held[seq][0]
        cached = self._cache.get((stream, seq)) or self._ahead.pop((stream, seq), None)
        if cached is not None:
            return cached
        found = self._database.records(stream, range(seq, seq + AHEAD_RECORDS))
        if len(self._ahead) > AHEAD_RECORDS * len(self._streams):
            self._ahead.clear()
        self._ahead.update({(stream, n): record for n, record in found.items() if n != seq})
        return found.get(seq)

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
        """Where the streams stand, as far as it is sure: nothing else may be announced."""
        if self._absent is not None:
            return {}
        return {
            name: StreamHead(
                epoch=state.epoch, head=self._sure(name, state), records=self._sender.unsent(name)
            )
            for name, state in self._streams.items()
        }

    def _sure(self, name: str, state: Stream) -> int:
        return state.told if self.gate.open else min(state.told, self._before[name])

    def limit(self, max_bytes: int) -> None:
        """Another quota in bytes for all streams together; it counts from the next record on."""
        self._room.limit(max_bytes)

    def queues(self) -> dict[str, Queue]:
        if self._absent is not None:
            return {}
        return {
            name: Queue(
                records=self._sender.unsent(name),
                bytes=max(0, state.bytes),
                head=self._sure(name, state),
            )
            for name, state in self._streams.items()
        }

    async def written(self) -> None:
        """Waits for what is being written: only then does the sender know of all that was made."""
        while self._writing or self._promised:
            await asyncio.wait(self._writing | self._promised)

    async def close(self) -> None:
        """Writes what is in memory and gives back what was reserved; a last attempt at what could
        not be written."""
        self._hurry.set()
        self._link_good = False
        if self._unspilt() or self._streams[METRICS].left():
            self._start(self._spill(0))
        await self.written()
        await self._journal.close()
        unsaid = self.volatile.unsaid() if self.volatile is not None else 0
        if unsaid:
            log.error("records in memory are lost at stop", extra={"records": unsaid})


def _joined(one: Change, other: Change) -> Change:
    return Change(
        records=[*one.records, *other.records],
        settled=[*one.settled, *other.settled],
        losses=[*one.losses, *other.losses],
        commands=[*one.commands, *other.commands],
        marks=[*one.marks, *other.marks],
        aside=other.aside or one.aside,
        unanswered=one.unanswered if other.unanswered is None else other.unanswered,
    )


def _together(records: Sequence[Record]) -> list[tuple[str, int, int]]:
    """The records as (stream, first, last), in their order."""
    runs: list[tuple[str, int, int]] = []
    for record in records:
        if runs and runs[-1][0] == record.stream and runs[-1][2] == record.seq - 1:
            runs[-1] = record.stream, runs[-1][1], record.seq
        else:
            runs.append((record.stream, record.seq, record.seq))
    return runs
