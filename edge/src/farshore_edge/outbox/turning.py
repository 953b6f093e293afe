"""Begins a new epoch on a disk that went back in time: what goes on gets new seqs, the rest is declared.

It makes the change and what the streams are after it; who writes it, and when, is the outbox's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from farshore_protocol.errors import MessageError
from farshore_protocol.stream import RangeSet, Sender, StreamAck

from farshore_edge.database import Change, Database, Record, SetAside, Turn
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.losses import Losses
from farshore_edge.outbox.rewind import RENUMBERED, REWOUND, fate, resealed
from farshore_edge.outbox.streams import Stream

AT_ONCE = 512
"""Records that are read together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turned:
    """``change`` makes it so; ``streams`` are what they are once it is durable."""

    change: Change
    streams: dict[str, Stream]


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
        told[name] = {"epoch": old.epoch, "head": before[name], "known_head": word.head}
    timing = now()
    data = {"data": {"state": "rewound", "streams": told}}
    records.append(fresh["events"].seal("events", "evt/outbox", data, timing))
    losses = Losses(fresh, sender, now)
    change = Change()
    for reason, parts in lost.items():
        said = losses.of_another_epoch(parts, reason)
        change = replace(
            change,
            records=[*change.records, *said.records],
            losses=[*change.losses, *said.losses],
        )
    for stream in fresh.values():
        stream.pending = RangeSet()
        stream.told = stream.reserved = stream.head
    aside = SetAside(file="", reason=REWOUND, at_ms=timing.ts, told=True)
    change = replace(
        change,
        records=[*records, *change.records],
        turn=Turn(epoch=epoch),
        unanswered={},
        aside=aside,
    )
    return Turned(change=change, streams=fresh)


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
