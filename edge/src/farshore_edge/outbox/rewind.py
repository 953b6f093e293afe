"""Whether the node's disk has gone back in time, and what then becomes of its records. Pure.

A database that was set back to an older copy gives out seqs again that the center has for other
records. So at the start of the agent nothing is sent until the center has answered the birth with
how far it knows each stream. When it knows more than this disk had counted before, every stream
goes on in a new epoch, in which no seq was ever given out.

``before``: the head when the agent began whose birth nobody has answered since; ``began``: the head
when this agent began. They are the same unless an agent was started and stopped without an answer.
"""

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from farshore_protocol.codec import encode
from farshore_protocol.errors import MessageError
from farshore_protocol.stream import STREAMS, Ack, RangeSet, StreamAck
from farshore_protocol.stream.model import MAX_RANGES
from farshore_protocol.telemetry import inflate, pack_body

from farshore_edge.database import Loss

ASK_EVERY_S = 10.0
"""A birth that the center does not answer is said again."""
ASK_NOBODY_EVERY_S = 30.0
"""The same where no center was heard on this connection: one may be there all the same."""
WITHOUT_HEAD_S = 30.0
"""After so long on a connection an answer counts that does not say heads: an older center's."""
REWOUND = "disk went back in time"
RENUMBERED = "disk went back in time; sent under a new number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Of one stream, by the seqs of the epoch that ends.

    ``again``: kept records that go on under new seqs. ``lost``: what the center lacks and this disk
    has not, and what it keeps but can't tell from what the center has. ``renumbered``: seqs whose
    records are among those that go on and that the center has nothing else for. It is told of those
    beyond what it knows, too: the disk can be set back again, to a copy from between, and what went
    on already must not go on a second time.
    """

    again: RangeSet
    lost: RangeSet
    renumbered: RangeSet


class Gate:
    """Closed until the center has answered for every stream, on one connection."""

    def __init__(self, epochs: Mapping[str, str], before: Mapping[str, int]) -> None:
        self.open = False
        self._epochs = dict(epochs)
        self._before = dict(before)
        self._answers: dict[str, StreamAck] = {}
        self._up_s = self._asked_s = 0.0
        self.center_here = False
        """Whether a center has said anything on this connection. Where there is none, somebody may
        drive the node by hand, and records are sent for whoever listens, marked as such."""
        self.sent: dict[str, RangeSet] = {stream: RangeSet() for stream in STREAMS}
        """What was sent while it was closed."""

    def shut(self, epochs: Mapping[str, str], before: Mapping[str, int]) -> None:
        """The disk was found only now, while connected: its streams are still to be answered for."""
        self.open = False
        self._epochs, self._before = dict(epochs), dict(before)
        self._answers.clear()
        self._up_s = math.inf  # on this connection only an answer that says heads is one

    @property
    def answers(self) -> Mapping[str, StreamAck]:
        return self._answers

    def link_up(self, now_s: float) -> None:
        self._answers.clear()
        self.center_here = False
        self._up_s = self._asked_s = now_s

    def due(self, now_s: float) -> bool:
        """Whether the birth is to be said again."""
        if self.open or now_s - self._asked_s < self._every_s():
            return False
        self._asked_s = now_s
        return True

    def next_in_s(self, now_s: float) -> float:
        return max(0.05, self._asked_s + self._every_s() - now_s)

    def _every_s(self) -> float:
        return ASK_EVERY_S if self.center_here else ASK_NOBODY_EVERY_S

    def heard(self, ack: Ack, now_s: float) -> bool:
        """Whether the answer is whole now."""
        self.center_here = True
        for stream, word in ack.items():
            if word.epoch != self._epochs.get(stream):
                continue
            if word.head is not None or now_s - self._up_s >= WITHOUT_HEAD_S:
                self._answers[stream] = word
        return self.whole

    @property
    def whole(self) -> bool:
        """Whether the center has answered for every stream."""
        return self._answers.keys() >= set(STREAMS)

    def rewound(self) -> bool:
        """Whether the center knows of more than this disk had counted."""
        return any((word.head or 0) > self._before[s] for s, word in self._answers.items())


def fate(
    kept: Iterable[tuple[int, int]],
    word: StreamAck,
    *,
    before: int,
    began: int,
    sent: RangeSet | None = None,
) -> Fate:
    """What of a stream goes on. What this agent made goes on: its seqs are the ones that were given
    out twice. What it found, or has ``sent`` already, goes on unless the center may have it."""
    has, known = RangeSet(word.ranges), RangeSet(word.ranges)
    if len(word.ranges) >= MAX_RANGES:  # what lies between so many may be accepted, too
        known.add(word.ranges[0][0], word.ranges[-1][1])
    found, mine, lost = RangeSet(), RangeSet(), RangeSet()
    for first, last in kept:
        if first <= began:
            old = min(last, began)
            found.update(RangeSet(known.missing(first, old)))
            doubtful = RangeSet(known.within(first, old))
            for accepted in has.pairs():
                if accepted[0] <= before:
                    doubtful.discard(accepted[0], min(accepted[1], before))
            lost.update(doubtful)
        if last > began:
            mine.add(max(first, began + 1), last)
    for first, last in sent or ():
        for doubtful_part in known.within(first, last):
            for part in mine.within(*doubtful_part):
                mine.discard(*part)
                lost.add(*part)
    renumbered = RangeSet()
    for gap in has.missing(1, word.head) if word.head else ():
        renumbered.update(RangeSet(found.within(*gap)))
        lost.update(RangeSet(found.missing(*gap)))
    again = found.copy()
    again.update(mine)
    beyond = (word.head or 0) + 1, again.last
    renumbered.update(RangeSet(again.within(*beyond)))
    lost.update(RangeSet(again.missing(*beyond)))
    return Fate(again=again, lost=lost, renumbered=renumbered)


def given_up(
    ledger: Iterable[Loss], stream: str, epoch: str, *, reasons: Set[str], above: int, known: int
) -> list[tuple[str, int, int]]:
    """Reason, first and last of what this disk gave up for ``reasons`` since it went back, under seqs
    ``above`` what it had counted. Up to ``known`` the center has other records under these, or misses
    them: what is said of such a seq is said of another record."""
    found: list[tuple[str, int, int]] = []
    told = RangeSet([(1, above)] if above else ())
    for line in ledger:
        if (line.stream, line.epoch) != (stream, epoch) or line.reason not in reasons:
            continue
        for first, last in told.missing(line.first, min(line.last, known)):
            told.add(first, last)
            if found and found[-1][0] == line.reason and found[-1][2] + 1 == first:
                first = found.pop()[1]
            found.append((line.reason, first, last))
    return found


def resealed(payload: bytes, *, old: tuple[str, int], new: tuple[str, int]) -> bytes:
    """The same record under another epoch and seq. Raises MessageError for one that is damaged."""
    plain = inflate(payload)
    head = _head(*old)
    if not plain.startswith(head):
        raise MessageError("bad_message", "not the record that it is kept as")
    moved = _head(*new) + plain[len(head) :]
    return moved if plain is payload else pack_body(moved)


def _head(epoch: str, seq: int) -> bytes:
    return b'{"epoch":' + encode(epoch) + b',"seq":%d,' % seq
