"""Metrics in memory alone while the link is good, under seqs that are reserved on the disk.

The next block of seqs is reserved in the background, before the one in use is used up, so that a
record hardly ever waits for the disk. What is in memory is written when the link goes, when it is
unacknowledged for too long, with each reservation, and at stop. It makes the changes; others write
them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from farshore_protocol.stream import RangeSet, Sender

from farshore_edge.database import Change, Record
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.streams import METRICS, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferSettings:
    """``spill_after_s``: how long a record may be unacknowledged in memory; 0 keeps none there.

    ``block``: seqs that are reserved at once, the next ones when less than half of them are left; so
    a crash can put at most one and a half blocks at risk, less one record.
    ``settle_s``: how long acknowledged records may wait to be deleted together.
    """

    spill_after_s: float = 30.0
    block: int = 64
    memory_max_bytes: int = 1024 * 1024
    settle_s: float = 0.0


class Held:
    def __init__(
        self,
        streams: Mapping[str, Stream],
        sender: Sender,
        *,
        now: Callable[[], Timing],
        buffer: BufferSettings,
        writable: Callable[[], bool],
        steady: Callable[[], Awaitable[Any]],
        start: Callable[[Change], "asyncio.Task[None]"],
    ) -> None:
        """``writable``: the disk did not fail at last; ``steady``: waits while an epoch ends;
        ``start``: begins to write a change."""
        self._streams = streams
        self._sender = sender
        self._now = now
        self._buffer = buffer
        self._writable = writable
        self._steady = steady
        self._start = start
        self._records: dict[int, tuple[Record, int]] = {}
        self._bytes = 0
        self._spilling = RangeSet()
        self._reserving: asyncio.Task[None] | None = None
        self.link_good = False

    def comes_first(self) -> bool:
        """Whether metrics are to stay in memory as long as they may."""
        return self.link_good and self._buffer.spill_after_s > 0

    # Seqs

    async def reserved(self) -> bool:
        """Whether the next record may stay in memory: its seq is reserved, durably."""
        while self.comes_first() and self._writable():
            self._reserve_ahead()
            if self._streams[METRICS].left():
                return True
            if self._reserving is None or self._reserving.done():
                break  # it will not come any more: the durable way is always there
            await asyncio.shield(self._reserving)
            await self._steady()
        return self.comes_first() and self._streams[METRICS].left() > 0

    def _reserve_ahead(self) -> None:
        asked, block = self._streams[METRICS].asked(), self._buffer.block
        if asked < max(1, block // 2):
            self._reserving = self._start(self.take(asked + block))

    def give_back(self) -> None:
        """Writes what is in memory, and only what was given out stays reserved."""
        if self.unspilt() or self._streams[METRICS].asked():
            self._start(self.take(0))

    # Records

    def hold(self, path: str, body: dict[str, Any], timing: Timing) -> int:
        """A record in memory alone, to be sent at once: its seq is reserved."""
        state = self._streams[METRICS]
        record = state.seal(METRICS, path, body, timing)
        self._records[record.seq] = record, self._now().up_ms
        self._bytes += len(record.payload)
        state.told = max(state.told, record.seq)
        self._sender.appended(METRICS, record.seq)
        return record.seq

    def too_much(self) -> bool:
        return self._bytes > self._buffer.memory_max_bytes

    def record(self, seq: int) -> Record | None:
        held = self._records.get(seq)
        return held[0] if held is not None else None

    def unspilt(self) -> list[Record]:
        return [record for seq, (record, _) in self._records.items() if seq not in self._spilling]

    def take(self, block: int) -> Change:
        """All that is in memory, and a mark: what is below it is safe, ``block`` seqs are reserved."""
        state, records = self._streams[METRICS], self.unspilt()
        for record in records:
            self._spilling.add(record.seq)
            state.pending.add(record.seq)
        return Change(records=records, marks=[state.mark(METRICS, block)])

    def spill(self) -> None:
        """Writes what is in memory, and keeps what is reserved or about to be."""
        if self.unspilt():
            self._reserving = self._start(self.take(self._streams[METRICS].asked()))

    def spill_in_s(self) -> float | None:
        """Seconds until something has been unacknowledged in memory for too long."""
        oldest = next(
            (at for seq, (_, at) in self._records.items() if seq not in self._spilling), None
        )
        if oldest is None:
            return None
        return self._buffer.spill_after_s - (self._now().up_ms - oldest) / 1000

    def written(self, first: int, last: int) -> list[tuple[int, int]]:
        """Those of the records on the disk that were not in memory before, and known to the sender
        since; the others need not be held any more."""
        others = self._spilling.missing(first, last)
        for low, high in self._spilling.within(first, last):
            self._spilling.discard(low, high)
            for seq in range(low, high + 1):
                self._let_go(seq)
        return others

    def acknowledged(self, settled: RangeSet) -> None:
        """Lets go of what the disk never had, and takes it out of what is to be deleted there."""
        for seq in [seq for seq in self._records if seq in settled and seq not in self._spilling]:
            self._streams[METRICS].bytes -= self._let_go(seq)
            settled.discard(seq)

    def never_durable(self, records: Sequence[Record]) -> RangeSet:
        """These are not written after all; their seqs, to be declared lost."""
        state, ranges = self._streams[METRICS], RangeSet()
        for record in records:
            ranges.add(record.seq)
            state.pending.discard(record.seq)
            state.bytes -= len(record.payload)
            if record.seq in self._spilling:
                self._spilling.discard(record.seq)
                self._let_go(record.seq)
                self._sender.dropped(METRICS, record.seq, record.seq)
        return ranges

    def _let_go(self, seq: int) -> int:
        """Of a record in memory; its size."""
        held = self._records.pop(seq, None)
        size = len(held[0].payload) if held is not None else 0
        self._bytes -= size
        return size
