"""The streams as the outbox counts them: epochs, heads, what is durable, what is on its way there.

Seqs of metrics are reserved in blocks ("hi-lo"), so that a record may be sent before it is durable:
the mark on the disk is never below a seq that was given out from memory. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from farshore_protocol.stream import RangeSet

from farshore_edge.database import Mark, Record, StreamState
from farshore_edge.outbox.envelope import Timing, seal_all

METRICS = "metrics"
PACKED = ("evt/loss", "rep/tasks")
"""Paths of records that are compressed beside metrics: they grow with what a node has."""


@dataclass(slots=True, kw_only=True)
class Stream:
    """``head``: the last seq given out; ``told``: the last that may be announced to the center.

    ``reserved``: the last seq that may be given out from memory. ``bytes`` counts what is durable,
    what is becoming so and what is in memory; ``pending``: seqs that are becoming durable.
    """

    epoch: str
    head: int
    told: int
    bytes: int
    reserved: int
    pending: RangeSet = field(default_factory=RangeSet)
    _marks: list[Mark] = field(default_factory=list)
    """As they were made, from the newest durable one on; which of the others become so, and when,
    is not known."""

    @classmethod
    def of(cls, state: StreamState) -> "Stream":
        """After a start: whatever may have been given out is behind the head."""
        head = max(state.head, state.reserved)
        return cls(epoch=state.epoch, head=head, told=head, bytes=state.bytes, reserved=head)

    @classmethod
    def none(cls) -> "Stream":
        """Of a database that is not there."""
        return cls(epoch="", head=0, told=0, bytes=0, reserved=0)

    def seal(self, stream: str, path: str, body: dict[str, Any], timing: Timing) -> Record:
        """The next record. Raises RecordError, and then no seq was taken."""
        return self.seal_all(stream, path, [body], timing)[0]

    def seal_all(
        self, stream: str, path: str, bodies: Sequence[dict[str, Any]], timing: Timing
    ) -> list[Record]:
        """The next records: all of them or, when one can't travel, none."""
        first = self.head + 1
        payloads = seal_all(
            bodies,
            epoch=self.epoch,
            first=first,
            timing=timing.fields(),
            # What is large; the rest stays readable for people at a broker.
            compress=stream == METRICS or path in PACKED,
        )
        self.head += len(payloads)
        self.bytes += sum(map(len, payloads))
        return [
            Record(stream=stream, seq=seq, path=path, payload=payload)
            for seq, payload in enumerate(payloads, first)
        ]

    def left(self) -> int:
        """How many seqs may be given out from memory."""
        return max(0, self.reserved - self.head)

    def asked(self) -> int:
        """The same, once the newest mark is durable."""
        return max(0, self._marks[-1].reserved - self.head) if self._marks else self.left()

    def mark(self, stream: str, block: int) -> Mark:
        """Reserves ``block`` seqs above the head once it is durable; 0 gives all back."""
        newest = Mark(stream=stream, head=self.head, reserved=self.head + block)
        self._marks.append(newest)
        self.reserved = min(self.reserved, newest.reserved)
        return newest

    def marked(self, marks: Iterable[Mark]) -> None:
        """These are durable. What a later one takes back may not be given out."""
        done = {id(mark) for mark in marks}
        found = [index for index, mark in enumerate(self._marks) if id(mark) in done]
        if not found:
            return
        del self._marks[: found[-1]]
        self.reserved = min(mark.reserved for mark in self._marks)

    def in_order(self, marks: Iterable[Mark]) -> list[Mark]:
        """Those of the marks that still count, as they were made. When a later one is durable, an
        earlier one would take back what was given out since."""
        asked = {id(mark) for mark in marks}
        return [mark for mark in self._marks if id(mark) in asked]
