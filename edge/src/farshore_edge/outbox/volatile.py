"""Records that are said from memory while the disk can't be written.

They have an epoch of their own, drawn for this start of the agent, so none of their seqs was ever
given out before. One of each stream is under way at a time and gets its seq only then: whatever
dies, the center's book of that epoch has no hole. What still waits when the disk is well again goes
the durable way. Pure: it is told the time.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from farshore_edge.database import Record
from farshore_edge.outbox.envelope import Timing, seal

WAITING_MAX = 512
"""Bodies of one stream; of more, the oldest are given up and counted."""
AGAIN_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What was to become a record."""

    stream: str
    path: str
    body: dict[str, Any]
    timing: Timing


@dataclass(slots=True)
class _Lane:
    waiting: deque[Word]
    seq: int = 0
    under_way: Record | None = None
    sent_s: float = 0.0


class Volatile:
    def __init__(self, draw_epoch: Callable[[], str]) -> None:
        self._draw_epoch = draw_epoch
        self._epoch = ""
        self._lanes: dict[str, _Lane] = {}
        self.said = 0
        self.given_up = 0

    def put(self, word: Word) -> None:
        self._epoch = self._epoch or self._draw_epoch()
        waiting = self._lanes.setdefault(word.stream, _Lane(deque())).waiting
        waiting.append(word)
        if len(waiting) > WAITING_MAX:
            waiting.popleft()
            self.given_up += 1

    def link_up(self) -> None:
        for lane in self._lanes.values():
            lane.sent_s = -AGAIN_S

    def next(self, now_s: float) -> list[Record]:
        """What is to be sent now: for the first time, or again."""
        due = []
        for lane in self._lanes.values():
            if lane.under_way is None and lane.waiting:
                lane.under_way = self._sealed(lane, lane.waiting.popleft())
                lane.sent_s = now_s - AGAIN_S
                self.said += 1
            if lane.under_way is not None and now_s - lane.sent_s >= AGAIN_S:
                lane.sent_s = now_s
                due.append(lane.under_way)
        return due

    def _sealed(self, lane: _Lane, word: Word) -> Record:
        lane.seq += 1
        payload = seal(
            word.body,
            epoch=self._epoch,
            seq=lane.seq,
            timing=word.timing.fields(),
            compress=word.stream == "metrics",
        )
        return Record(stream=word.stream, seq=lane.seq, path=word.path, payload=payload)

    def next_timeout_s(self) -> float | None:
        return min(
            (lane.sent_s + AGAIN_S for lane in self._lanes.values() if lane.under_way),
            default=None,
        )

    def acknowledged(self, stream: str, epoch: str, ranges: Iterable[tuple[int, int]]) -> bool:
        """Whether the acknowledgement is about this epoch."""
        if not self._epoch or epoch != self._epoch:
            return False
        lane = self._lanes.get(stream)
        if lane is not None and lane.under_way is not None:
            seq = lane.under_way.seq
            if any(first <= seq <= last for first, last in ranges):
                lane.under_way = None
        return True

    def take_waiting(self) -> list[Word]:
        """What has no seq yet, in its order; it is here no longer."""
        words = [word for lane in self._lanes.values() for word in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
        return words

    def idle(self) -> bool:
        return not self.unsaid()

    def unsaid(self) -> int:
        """How many records are not acknowledged."""
        return sum(
            len(lane.waiting) + (lane.under_way is not None) for lane in self._lanes.values()
        )
