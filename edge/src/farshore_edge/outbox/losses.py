"""Declares records lost: for each range a line in the ledger, an ``evt/loss`` and the deletion of
what there may be, in one change. It does not decide what is lost."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from farshore_protocol.stream import RangeSet, Sender

from farshore_edge.database import Change, Loss, Record
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.streams import Stream
from farshore_edge.outbox.thinning import Summary, portions

THINNED = "thinned"
DISK = "disk"
DIED = "agent died; at most these"
DATABASE_DAMAGED = "database damaged"


class Losses:
    def __init__(
        self, streams: Mapping[str, Stream], sender: Sender, now: Callable[[], Timing]
    ) -> None:
        self._streams = streams
        self._sender = sender
        self._now = now
        self._declared: list[tuple[str, int, int, int]] = []

    def declare(self, stream: str, ranges: Iterable[tuple[int, int]], reason: str) -> Change:
        epoch, timing = self._streams[stream].epoch, self._now()
        self._declared = self._unheard()
        records, losses = [], []
        for first, last in ranges:
            records.append(self._event(stream, epoch, first, last, reason, {}, timing))
            losses.append(self._line(stream, epoch, first, last, reason, timing))
        return Change(records=records, losses=losses, settled=_settled(losses))

    def thinned(self, stream: str, summaries: Sequence[Summary]) -> Change:
        """The same, with what remains of the records."""
        epoch, timing = self._streams[stream].epoch, self._now()
        self._declared = self._unheard()
        records, losses = [], []
        for summary in summaries:
            first, last = summary.first, summary.last
            for part in portions(summary):
                data = {
                    "period_s": part.period_s,
                    "from_ms": part.from_ms,
                    "until_ms": part.until_ms,
                    "series": part.series,
                }
                records.append(self._event(stream, epoch, first, last, THINNED, data, timing))
            losses.append(self._line(stream, epoch, first, last, THINNED, timing))
        return Change(records=records, losses=losses, settled=_settled(losses))

    def of_another_epoch(self, lost: Iterable[tuple[str, str, int, int]], reason: str) -> Change:
        """What a database held that is gone: there is nothing to delete."""
        timing = self._now()
        records, losses = [], []
        for stream, epoch, first, last in lost:
            records.append(self._event(stream, epoch, first, last, reason, {}, timing))
            losses.append(self._line(stream, epoch, first, last, reason, timing))
        return Change(records=records, losses=losses)

    def under_new_seqs(
        self, lost: Iterable[tuple[str, int, int]], stream: str, old: str, at: int
    ) -> Change:
        """Reason, first and last in the epoch ``old`` of what is gone: said again with seqs from ``at`` on,
        which no record has had."""
        epoch, timing = self._streams[stream].epoch, self._now()
        records, losses = [], []
        for reason, first, last in lost:
            to = at + last - first
            was = {"was": {"epoch": old, "range": [first, last]}}
            records.append(self._event(stream, epoch, at, to, reason, was, timing))
            losses.append(self._line(stream, epoch, at, to, reason, timing))
            at = to + 1
        return Change(records=records, losses=losses)

    def _event(
        self,
        stream: str,
        epoch: str,
        first: int,
        last: int,
        reason: str,
        remains: dict[str, Any],
        timing: Timing,
    ) -> Record:
        data = {"stream": stream, "epoch": epoch, "range": [first, last], "reason": reason}
        events = self._streams["events"]
        record = events.seal("events", "evt/loss", {"data": {**data, **remains}}, timing)
        events.pending.add(record.seq)
        if epoch == self._streams[stream].epoch:
            self._declared.append((stream, first, last, record.seq))
        return record

    @staticmethod
    def _line(stream: str, epoch: str, first: int, last: int, reason: str, timing: Timing) -> Loss:
        return Loss(
            stream=stream, epoch=epoch, first=first, last=last, reason=reason, at_ms=timing.ts
        )

    def take_over(self, other: "Losses") -> None:
        """What the other one has declared is on its way now."""
        self._declared = other._declared

    def unsaid(self, stream: str, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """What of the ranges is not on its way to the disk, nor declared by an event that the
        center has not acknowledged."""
        said = self._streams[stream].pending.copy()
        for declared, first, last, _ in self._unheard():
            if declared == stream:
                said.add(first, last)
        return [part for first, last in ranges for part in said.missing(first, last)]

    def _unheard(self) -> list[tuple[str, int, int, int]]:
        """Stream, first and last of what is declared lost, and the event's seq while it is unsent."""
        events = RangeSet(self._sender.kept("events"))
        events.update(self._streams["events"].pending)
        return [entry for entry in self._declared if entry[3] in events]


def _settled(losses: Iterable[Loss]) -> list[tuple[str, int, int]]:
    return [(loss.stream, loss.first, loss.last) for loss in losses]
