"""The sending side of a node's streams: what goes next, what waits for its acknowledgement.

Pure: it holds sequence numbers, not records, and is told the time. The freshest records go first
and the backlog drains beside them in a bounded share of the window; at most ``window`` records of
all streams together are under way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from farshore_protocol.stream.model import STREAMS
from farshore_protocol.stream.ranges import RangeSet


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """``backlog_share``: the part of the window that records from before this connection may hold."""

    window: int = 32
    backlog_share: float = 0.3
    ack_timeout_s: float = 15.0
    ack_timeout_max_s: float = 120.0

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window {self.window}: expected 1 or more")
        if not 0 <= self.backlog_share <= 1:
            raise ValueError(f"backlog_share {self.backlog_share}: expected 0 to 1")

    @property
    def backlog_window(self) -> int:
        return max(1, int(self.window * self.backlog_share))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """A record to send now; ``backlog``: it was made before this connection."""

    stream: str
    seq: int
    backlog: bool


@dataclass(slots=True)
class _Lane:
    """``tries`` has an entry for all of ``sent_at``, and for what was sent before and waits again.

    ``ceiling``: the last seq that may be sent now, None for no limit.
    """

    epoch: str
    kept: RangeSet
    head: int
    waiting: RangeSet
    live_from: int = 1
    ceiling: int | None = None
    sent_at: dict[int, float] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)


class Sender:
    """All streams of one node."""

    def __init__(self, settings: SenderSettings | None = None) -> None:
        self._settings = settings or SenderSettings()
        self._lanes: dict[str, _Lane] = {}
        self._connected = False

    # What the outbox tells

    def open(self, stream: str, *, epoch: str, kept: Iterable[tuple[int, int]], head: int) -> None:
        """A stream with what its outbox holds; called once per stream, and again for a new epoch."""
        held = RangeSet(kept)
        self._lanes[stream] = _Lane(
            epoch=epoch, kept=held, head=head, waiting=held.copy(), live_from=head + 1
        )

    def appended(self, stream: str, seq: int, last: int | None = None) -> None:
        """One record, or those from ``seq`` to ``last``."""
        lane = self._lanes[stream]
        last = seq if last is None else last
        lane.kept.add(seq, last)
        lane.waiting.add(seq, last)
        lane.head = max(lane.head, last)

    def dropped(self, stream: str, first: int, last: int) -> None:
        """The outbox gave records up; they are not to be sent."""
        self._forget(self._lanes[stream], first, last)

    def hold(self, stream: str, *, above: int | None) -> None:
        """What is above that seq waits until this is told anew; None holds nothing."""
        self._lanes[stream].ceiling = above

    # What the link tells

    def link_up(self) -> None:
        """A new connection: nothing is under way on it, and all that is kept is backlog."""
        self._connected = True
        for lane in self._lanes.values():
            lane.sent_at.clear()
            lane.tries.clear()
            lane.waiting = lane.kept.copy()
            lane.live_from = lane.head + 1

    def link_down(self) -> None:
        self._connected = False

    # What the center tells

    def acknowledged(
        self, stream: str, epoch: str, ranges: Iterable[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """The parts that were kept until now: the outbox may delete them.

        An acknowledgement of another epoch, or of what was never made, says nothing.
        """
        lane = self._lanes.get(stream)
        if lane is None or lane.epoch != epoch:
            return []
        settled: list[tuple[int, int]] = []
        for first, last in ranges:
            parts = lane.kept.within(first, last)
            if parts:
                self._forget(lane, parts[0][0], parts[-1][1])
                settled += parts
        return settled

    def asked_again(
        self, stream: str, epoch: str, ranges: Iterable[tuple[int, int]]
    ) -> list[tuple[int, int]]:
        """Puts what is kept of the ranges back to the waiting; answers what is **not** kept.

        A range above the head is not answered: nothing was made there.
        """
        lane = self._lanes.get(stream)
        if lane is None or lane.epoch != epoch:
            return []
        unknown: list[tuple[int, int]] = []
        for first, last in ranges:
            last = min(last, lane.head)
            if first > last:
                continue
            for part in lane.kept.within(first, last):
                self._again(lane, *part)
            unknown += lane.kept.missing(first, last)
        return unknown

    # What to do

    def next(
        self, now_s: float, *, limit: int | None = None, backlog_too: bool = True
    ) -> list[Pick]:
        """What to send now, ``limit`` of them at most; each pick counts as sent at ``now_s``."""
        if not self._connected:
            return []
        self._expire(now_s)
        window = self._settings.window
        share = self._settings.backlog_window if backlog_too else 0
        live, backlog = self._under_way()
        free = window - live - backlog
        if limit is not None:
            free = min(free, limit)
        # A waiting backlog has its share for itself, or a steady flow of live records would starve
        # it; the last place in the window is never its own.
        reserved = min(free, self._backlog_waiting(min(share, window - 1) - backlog))
        picks = self._pick(now_s, live=True, room=free - reserved)
        room = min(free - len(picks), share - backlog)
        return picks + self._pick(now_s, live=False, room=room)

    def next_timeout_s(self) -> float | None:
        """When the oldest record under way will count as lost on the link, on ``now_s``'s clock.

        None while there is no connection: nothing is under way.
        """
        if not self._connected:
            return None
        deadlines = [
            self._deadline(lane, seq) for lane in self._lanes.values() for seq in lane.sent_at
        ]
        return min(deadlines, default=None)

    def unsent(self, stream: str) -> int:
        """How many records of the stream are not acknowledged."""
        return len(self._lanes[stream].kept)

    def kept(self, stream: str) -> list[tuple[int, int]]:
        """What is not acknowledged, as ranges."""
        return self._lanes[stream].kept.pairs()

    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not any(lane.kept for lane in self._lanes.values())

    # Inside

    def _under_way(self) -> tuple[int, int]:
        live = backlog = 0
        for lane in self._lanes.values():
            for seq in lane.sent_at:
                if seq >= lane.live_from:
                    live += 1
                else:
                    backlog += 1
        return live, backlog

    def _backlog_waiting(self, limit: int) -> int:
        """How many backlog records could be sent now, counted up to ``limit``."""
        found = 0
        for stream in STREAMS:
            found += len(self._take(stream, live=False, room=limit - found))
        return found

    def _pick(self, now_s: float, *, live: bool, room: int) -> list[Pick]:
        picks: list[Pick] = []
        for stream in STREAMS:
            for seq in self._take(stream, live=live, room=room - len(picks)):
                picks.append(self._sent(stream, seq, now_s, backlog=not live))
        return picks

    def _take(self, stream: str, *, live: bool, room: int) -> list[int]:
        """Up to ``room`` waiting seqs, oldest first within their kind (metrics: newest live first)."""
        lane = self._lanes.get(stream)
        if lane is None or room <= 0:
            return []
        low, high = (lane.live_from, lane.head) if live else (1, lane.live_from - 1)
        if lane.ceiling is not None:
            high = min(high, lane.ceiling)
        ranges = lane.waiting.within(low, high)
        newest_first = live and stream == "metrics"
        if newest_first:
            ranges.reverse()
        seqs: list[int] = []
        for first, last in ranges:
            run = range(last, first - 1, -1) if newest_first else range(first, last + 1)
            for seq in run:
                if len(seqs) == room:
                    return seqs
                seqs.append(seq)
        return seqs

    def _sent(self, stream: str, seq: int, now_s: float, *, backlog: bool) -> Pick:
        lane = self._lanes[stream]
        lane.waiting.discard(seq)
        lane.sent_at[seq] = now_s
        lane.tries[seq] = lane.tries.get(seq, 0) + 1
        return Pick(stream=stream, seq=seq, backlog=backlog)

    def _deadline(self, lane: _Lane, seq: int) -> float:
        doublings = min(lane.tries[seq] - 1, 30)  # a center can stay silent for days
        patience = self._settings.ack_timeout_s * 2.0**doublings
        return lane.sent_at[seq] + min(patience, self._settings.ack_timeout_max_s)

    def _expire(self, now_s: float) -> None:
        for lane in self._lanes.values():
            late = [seq for seq in lane.sent_at if self._deadline(lane, seq) <= now_s]
            for seq in late:
                self._again(lane, seq, seq)

    def _again(self, lane: _Lane, first: int, last: int) -> None:
        lane.waiting.add(first, last)
        for seq in _inside(lane.sent_at, first, last):
            del lane.sent_at[seq]

    def _forget(self, lane: _Lane, first: int, last: int) -> None:
        lane.kept.discard(first, last)
        lane.waiting.discard(first, last)
        for seq in _inside(lane.tries, first, last):
            lane.sent_at.pop(seq, None)
            del lane.tries[seq]


def _inside(seqs: Mapping[int, object], first: int, last: int) -> list[int]:
    """The keys within ``first..last``, by the shorter of the two ways."""
    if last - first < len(seqs):
        return [seq for seq in range(first, last + 1) if seq in seqs]
    return [seq for seq in seqs if first <= seq <= last]
