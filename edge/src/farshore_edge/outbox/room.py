"""Makes room in the outbox: metrics are thinned, the oldest first, before anything is dropped.

It reads what must give way, and answers with the change that makes it so. What it took is not sent
from then on. Results, events and reports have wide bounds of their own and are never thinned.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from farshore_protocol.codec import encode
from farshore_protocol.errors import MessageError
from farshore_protocol.stream import RangeSet, Sender
from farshore_protocol.telemetry import inflate, pack_body

from farshore_edge.database import Change, Database, Record
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox.changes import joined
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.losses import THINNED, Losses
from farshore_edge.outbox.quota import (
    SLACK,
    Quota,
    allowed_bytes,
    excess_records,
    give_up,
    oldest,
    too_old,
)
from farshore_edge.outbox.streams import METRICS, Stream
from farshore_edge.outbox.thinning import Batch, Summary, coarser, merged, next_period_s, summarise
from farshore_edge.outbox.thinning import oldest as oldest_sizes

log = logging.getLogger(__name__)

QUOTA = "quota"
DAMAGED = "damaged in the outbox"
AT_ONCE = 720
"""Records that are thinned in one go: what that costs must not hold up the agent."""
AT_LEAST = 16
"""A summary of fewer may be larger than they are."""
SUMMARIES_SHARE = 0.25
"""Of the quota that events may hold before summaries become coarser."""
EVENTS_AT_ONCE = 500
ENVELOPE_BYTES = 200
AGE_EVERY_MS = 600_000
LOG_EVERY_MS = 3_600_000


class Room:
    def __init__(
        self,
        database: Database,
        sender: Sender,
        streams: Mapping[str, Stream],
        losses: Losses,
        *,
        now: Callable[[], Timing],
        max_bytes: int,
        quotas: Mapping[str, Quota],
    ) -> None:
        self._database = database
        self._sender = sender
        self._streams = streams
        self._losses = losses
        self._now = now
        self._max_bytes = max_bytes
        self._quotas = quotas
        self._making: set[str] = set()
        self._age_due_ms: dict[str, int] = {}
        self._thinned_unlogged = 0
        self._log_due_ms = 0

    def limit(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def made(self, change: Change) -> None:
        """A change is durable: what was given up in it is gone."""
        self._making -= {loss.stream for loss in change.losses if loss.reason in (QUOTA, THINNED)}

    def make(self, stream: str) -> Change:
        """What must give way before another record of the stream comes, if anything."""
        if stream in self._making:
            return Change()
        try:
            change = self._thin() if stream == METRICS else self._drop(stream)
        except DatabaseError as exc:
            log.error("no room can be made: the outbox can't be read", extra={"error": str(exc)})
            return Change()
        self._making |= {loss.stream for loss in change.losses}
        for loss in change.losses:
            self._sender.dropped(loss.stream, loss.first, loss.last)
        return change

    # Metrics

    def _thin(self) -> Change:
        state, on_disk = self._streams[METRICS], self._on_disk()
        others = sum(s.bytes for name, s in self._streams.items() if name != METRICS)
        allowed = allowed_bytes(self._max_bytes, others=others)
        records = self._too_many(METRICS, on_disk)
        if (state.bytes <= allowed and not records) or not on_disk:
            return Change()
        excess = max(0, state.bytes - int(allowed * (1 - SLACK)))
        looked = _seqs(oldest(on_disk, AT_ONCE))
        found = self._database.records(METRICS, looked)
        sizes = [(seq, len(found[seq].payload) if seq in found else 0) for seq in looked]
        count = oldest_sizes(sizes, bytes_wanted=excess, records_wanted=records, at_least=AT_LEAST)
        change = self._thinned({seq: found.get(seq) for seq in looked[:count]})
        self._log_thinned(sum(loss.last - loss.first + 1 for loss in change.losses))
        return joined(change, self._coarser())

    def _log_thinned(self, records: int) -> None:
        self._thinned_unlogged += records
        up_ms = self._now().up_ms
        if up_ms >= self._log_due_ms:
            log.warning(
                "the outbox is full; the oldest metrics are thinned",
                extra={"records": self._thinned_unlogged},
            )
            self._thinned_unlogged, self._log_due_ms = 0, up_ms + LOG_EVERY_MS

    def _on_disk(self) -> list[tuple[int, int]]:
        """What can give way: not what is in memory or on its way to the disk."""
        free = RangeSet(self._sender.kept(METRICS))
        for part in self._streams[METRICS].pending:
            free.discard(*part)
        return free.pairs()

    def _thinned(self, records: Mapping[int, Record | None]) -> Change:
        batches, unreadable = [], RangeSet()
        for seq, record in records.items():
            batch = _batch(record) if record is not None else None
            if batch is None:
                unreadable.add(seq)
            else:
                batches.append(batch)
        change = self._losses.declare(METRICS, unreadable, DAMAGED)
        for run in _runs(batches):
            change = joined(change, self._smaller(run))
        return change

    def _smaller(self, run: Sequence[Batch]) -> Change:
        """The run as summaries; given up where they would not be smaller than the run itself."""
        summaries = summarise(run)
        size = sum(len(pack_body(encode(part.series))) + ENVELOPE_BYTES for part in summaries)
        if size < sum(batch.size for batch in run):
            return self._losses.thinned(METRICS, summaries)
        return self._losses.declare(METRICS, [(run[0].seq, run[-1].seq)], QUOTA)

    def _coarser(self) -> Change:
        """Summaries that hold too much become coarser ones, which takes the old ones' place."""
        if self._streams["events"].bytes <= self._max_bytes * SUMMARIES_SHARE:
            return Change()
        free = RangeSet(self._sender.kept("events"))
        for part in self._streams["events"].pending:
            free.discard(*part)
        seqs = _seqs(oldest(free.pairs(), EVENTS_AT_ONCE))
        held = self._database.records("events", seqs)
        epoch, kept = self._streams[METRICS].epoch, RangeSet(self._sender.kept(METRICS))
        known = {
            id(summary): (seq, summary)
            for seq in sorted(held)
            if (summary := _summary(held[seq], epoch)) is not None
        }
        change, gone = Change(), RangeSet()
        for group in coarser([summary for _, summary in known.values()]):
            whole = merged(group, next_period_s(group[0].period_s))
            if kept.within(whole.first, whole.last):
                continue  # between them lies what is still to be sent
            change = joined(change, self._losses.thinned(METRICS, [whole]))
            for summary in group:
                gone.add(known[id(summary)][0])
        return joined(change, self._losses.declare("events", gone, THINNED))

    # The others

    def _drop(self, stream: str) -> Change:
        quota = self._quotas.get(stream)
        if quota is None:
            return Change()
        state, kept = self._streams[stream], self._sender.kept(stream)
        ranges = RangeSet(give_up(kept, bytes_held=state.bytes, bytes_allowed=quota.max_bytes))
        ranges.update(RangeSet(oldest(kept, self._too_many(stream, kept))))
        if not ranges:
            return Change()
        log.error(
            "a stream is over its quota; its oldest records are given up",
            extra={"stream": stream, "records": len(ranges)},
        )
        return self._losses.declare(stream, ranges, QUOTA)

    def _too_many(self, stream: str, kept: Sequence[tuple[int, int]]) -> int:
        """How many of the oldest are beyond the quota in records or in age."""
        quota = self._quotas.get(stream)
        if quota is None:
            return 0
        count = sum(last - first + 1 for first, last in kept)
        now, old = self._now(), 0
        if now.up_ms >= self._age_due_ms.get(stream, 0):
            self._age_due_ms[stream] = now.up_ms + AGE_EVERY_MS
            old = too_old(
                kept,
                now=now,
                max_age_s=quota.max_age_s,
                timing_of=lambda seq: self._timing_of(stream, seq),
            )
        return max(old, excess_records(count, quota.max_records))

    def _timing_of(self, stream: str, seq: int) -> tuple[int, bool] | None:
        record = self._database.records(stream, (seq,)).get(seq)
        word = _word(record) if record is not None else None
        if word is None or not isinstance(word.get("ts"), int):
            return None
        return word["ts"], word.get("synced") is True


def _seqs(ranges: Sequence[tuple[int, int]]) -> list[int]:
    return [seq for first, last in ranges for seq in range(first, last + 1)]


def _runs(batches: Sequence[Batch]) -> list[list[Batch]]:
    """Neighbours without a gap between their seqs: a range must not hold what is not in it."""
    runs: list[list[Batch]] = []
    for batch in batches:
        if runs and runs[-1][-1].seq == batch.seq - 1:
            runs[-1].append(batch)
        else:
            runs.append([batch])
    return runs


def _word(record: Record) -> dict[str, Any] | None:
    try:
        word = orjson.loads(inflate(record.payload))
    except (MessageError, ValueError):
        return None
    return word if isinstance(word, dict) else None


def _batch(record: Record) -> Batch | None:
    word = _word(record)
    try:
        if word is None:
            return None
        return Batch(
            seq=record.seq, size=len(record.payload), ts=word["ts"], dt=word["dt"], m=word["m"]
        )
    except KeyError:
        return None


def _summary(record: Record, epoch: str) -> Summary | None:
    """What an ``evt/loss`` says that remains of metrics; a part of a split one does not count."""
    word = _word(record) if record.path == "evt/loss" else None
    data = word["data"] if word is not None else {}
    if data.get("reason") != THINNED or data.get("epoch") != epoch or "series" not in data:
        return None
    return Summary(
        first=data["range"][0],
        last=data["range"][1],
        from_ms=data["from_ms"],
        until_ms=data["until_ms"],
        period_s=data["period_s"],
        series={name: tuple(known) for name, known in data["series"].items()},
    )
