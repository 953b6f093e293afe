"""Begins a new epoch on a disk that went back in time: what goes on gets new seqs, the rest is declared.
What was given up before anybody knew gets new seqs, too, and is declared again: under its old ones the
center has other records.

It makes the change and what the streams are after it; who writes it, and when, is the outbox's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from farshore_protocol.errors import MessageError
from farshore_protocol.stream import RangeSet, Sender, StreamAck

from farshore_edge.database import Change, Database, Mark, Record, SetAside, Turn
from farshore_edge.outbox.changes import joined
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.losses import DISK, THINNED, Losses
from farshore_edge.outbox.rewind import RENUMBERED, REWOUND, fate, given_up, resealed
from farshore_edge.outbox.room import DAMAGED, QUOTA
from farshore_edge.outbox.streams import Stream

GIVEN_UP = frozenset({THINNED, QUOTA, DAMAGED, DISK})
"""Reasons for which a record was given up that there was."""
AT_ONCE = 512
"""Records that are read together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """``change`` makes it so; ``streams`` are what they are once it is durable, ``losses`` what has declared
    in their new epoch."""

    change: Change
    streams: dict[str, Stream]
    losses: Losses

    def kept(self, name: str) -> RangeSet:
        """What a stream keeps: between that may be seqs that no record has."""
        return RangeSet((each.seq, each.seq) for each in self.change.records if each.stream == name)


def turned(
    database: Database,
    sender: Sender,
    streams: Mapping[str, Stream],
    answers: Mapping[str, StreamAck],
    *,
    before: Mapping[str, int],
    began: Mapping[str, int],
    sent: Mapping[str, RangeSet],
    epoch: str,
    now: Callable[[], Timing],
) -> Turned:
    """Raises DatabaseError when what is kept can't be read."""
    fresh = {name: Stream(epoch=epoch, head=0, told=0, bytes=0, reserved=0) for name in streams}
    records: list[Record] = []
    told: dict[str, Any] = {}
    ledger = database.losses()
    again: list[tuple[str, int, list[tuple[str, int, int]]]] = []
    lost: dict[str, list[tuple[str, str, int, int]]] = {REWOUND: [], RENUMBERED: []}
    for name, old in streams.items():
        word = answers[name]
        found = fate(
            sender.kept(name), word, before=before[name], began=began[name], sent=sent[name]
        )
        damaged = _moved(database, name, old.epoch, found.again, fresh[name], records)
        for seq in damaged:
            found.renumbered.discard(seq)
            found.lost.add(seq)
        for reason, ranges in ((REWOUND, found.lost), (RENUMBERED, found.renumbered)):
            lost[reason] += [(name, old.epoch, *part) for part in ranges]
        gone = given_up(
            ledger, name, old.epoch, reasons=GIVEN_UP, above=before[name], known=word.head or 0
        )
        again.append((name, fresh[name].head + 1, gone))
        fresh[name].head += sum(last - first + 1 for _, first, last in gone)
        told[name] = {"epoch": old.epoch, "head": before[name], "known_head": word.head}
    timing = now()
    data = {"data": {"state": "rewound", "streams": told}}
    records.append(fresh["events"].seal("events", "evt/outbox", data, timing))
    losses = Losses(fresh, sender, now)
    change = Change()
    for reason, parts in lost.items():
        change = joined(change, losses.of_another_epoch(parts, reason))
    for name, at, gone in again:
        change = joined(change, losses.under_new_seqs(gone, name, streams[name].epoch, at))
    for stream in fresh.values():
        stream.pending = RangeSet()
        stream.told = stream.reserved = stream.head
    records += change.records
    aside = SetAside(file="", reason=REWOUND, at_ms=timing.ts, told=True)
    change = replace(
        change,
        records=records,
        marks=[Mark(stream=name, head=s.head, reserved=s.head) for name, s in fresh.items()],
        turn=Turn(epoch=epoch),
        unanswered={},
        aside=aside,
    )
    return Turned(change=change, streams=fresh, losses=losses)


def _moved(
    database: Database,
    name: str,
    epoch: str,
    seqs: RangeSet,
    to: Stream,
    records: list[Record],
) -> Sequence[int]:
    """Puts the records under their new seqs; the seqs of those that are damaged or not there."""
    damaged = []
    for first, last in seqs:
        for low in range(first, last + 1, AT_ONCE):
            some = range(low, min(low + AT_ONCE, last + 1))
            held = database.records(name, some)
            for seq in some:
                record = held.get(seq)
                try:
                    if record is None:
                        raise MessageError("bad_message", "not there")
                    payload = resealed(
                        record.payload, old=(epoch, seq), new=(to.epoch, to.head + 1)
                    )
                except MessageError:
                    damaged.append(seq)
                    continue
                to.head += 1
                to.bytes += len(payload)
                records.append(replace(record, seq=to.head, payload=payload))
    return damaged
