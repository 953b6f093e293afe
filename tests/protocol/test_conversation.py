"""Sender and books together, over a link that loses, doubles and overtakes, with both sides restarting.

The machine plays the outbox (what survives a restart of the node), the link (packets under way, in
any order) and the center's database (what survives a restart of the center).
"""

from collections import Counter
from dataclasses import dataclass, field

from farshore_protocol.stream import Book, RangeSet, Sender, SenderSettings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

STREAM = st.sampled_from(["results", "events", "metrics"])
PICK = st.integers(0, 10**6)
OPEN_S, AGAIN_S = 5.0, 20.0

Key = tuple[str, str]  # stream and epoch
Packet = tuple[
    str, str, str, int, int
]  # what ("record", "lost", "head"), stream, epoch, first, last
Answer = tuple[str, str, tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]


@dataclass
class Outbox:
    """What the node's disk holds of one stream."""

    epoch: str
    kept: RangeSet = field(default_factory=RangeSet)
    head: int = 0


class Conversation(RuleBasedStateMachine):
    @initialize(window=st.integers(1, 6), share=st.floats(0, 1), ranges=st.integers(1, 5))
    def begin(self, window: int, share: float, ranges: int) -> None:
        self.settings = SenderSettings(
            window=window, backlog_share=share, ack_timeout_s=10, ack_timeout_max_s=30
        )
        self.ranges = ranges
        self.now_s = 0.0
        self.epochs = 0
        self.disk: dict[str, Outbox] = {}
        for stream in ("results", "events", "metrics"):
            self.disk[stream] = Outbox(self._epoch())
        self.books: dict[Key, Book] = {}
        self.stored: Counter[tuple[Key, int]] = Counter()
        self.to_center: list[Packet] = []
        self.to_node: list[Answer] = []
        self._start_node()

    def _epoch(self) -> str:
        self.epochs += 1
        return f"e{self.epochs}"

    def _start_node(self) -> None:
        self.connected = False
        self.sender = Sender(self.settings)
        for stream, box in self.disk.items():
            self.sender.open(stream, epoch=box.epoch, kept=box.kept, head=box.head)
        self._nothing_under_way()

    def _nothing_under_way(self) -> None:
        """A model of what is under way: (stream, seq) → (live, deadline); and the tries of each."""
        self.under_way: dict[tuple[str, int], tuple[bool, float]] = {}
        self.tries: Counter[tuple[str, int]] = Counter()
        self.live_from = {stream: box.head + 1 for stream, box in self.disk.items()}

    def _settle(self, stream: str, first: int, last: int) -> None:
        self.disk[stream].kept.discard(first, last)
        self._land(stream, first, last)
        for key in [k for k in self.tries if k[0] == stream and first <= k[1] <= last]:
            del self.tries[key]

    def _land(self, stream: str, first: int, last: int) -> None:
        for key in [k for k in self.under_way if k[0] == stream and first <= k[1] <= last]:
            del self.under_way[key]

    # The node

    @rule(stream=STREAM, count=st.integers(1, 8))
    def record(self, stream: str, count: int) -> None:
        box = self.disk[stream]
        for _ in range(count):
            box.head += 1
            box.kept.add(box.head)
            self.sender.appended(stream, box.head)

    @rule()
    def link_up(self) -> None:
        self.connected = True
        self._nothing_under_way()
        self.sender.link_up()
        for stream, box in self.disk.items():
            self.to_center.append(("head", stream, box.epoch, box.head, box.head))

    @rule()
    def link_down(self) -> None:
        self.connected = False
        self.sender.link_down()

    @rule()
    def send(self) -> None:
        picks = self.sender.next(self.now_s)
        assert self.connected or not picks
        self.under_way = {k: v for k, v in self.under_way.items() if v[1] > self.now_s}
        for pick in picks:
            key = (pick.stream, pick.seq)
            assert pick.seq in self.disk[pick.stream].kept, "sends what it has not"
            assert key not in self.under_way, "sends again before its time"
            assert pick.backlog == (pick.seq < self.live_from[pick.stream])
            self.tries[key] += 1
            patience = min(10 * 2.0 ** (self.tries[key] - 1), 30)
            self.under_way[key] = (not pick.backlog, self.now_s + patience)
            self.to_center.append(
                ("record", pick.stream, self.disk[pick.stream].epoch, pick.seq, pick.seq)
            )
        self._check_window(picks_live=[not pick.backlog for pick in picks])

    def _waiting(self, *, live: bool) -> int:
        return sum(
            (seq >= self.live_from[stream]) == live
            for stream, box in self.disk.items()
            for first, last in box.kept
            for seq in range(first, last + 1)
            if (stream, seq) not in self.under_way
        )

    def _check_window(self, *, picks_live: list[bool]) -> None:
        window = self.settings.window
        share = max(1, int(window * self.settings.backlog_share))
        backlog = sum(not live for live, _ in self.under_way.values())
        assert len(self.under_way) <= window
        assert backlog <= share
        assert picks_live == sorted(picks_live, reverse=True), "live first"
        if not self.connected:
            return
        left_live, left_backlog = self._waiting(live=True), self._waiting(live=False)
        if len(self.under_way) < window:
            assert left_live == 0, "room, and a live record waits"
            assert left_backlog == 0 or backlog == share, "room, and the backlog waits"
        if window > 1 and left_backlog:
            assert backlog >= 1 or not any(picks_live), "live takes all the room"

    @rule(stream=STREAM, at=PICK, length=st.integers(1, 6))
    def thin(self, stream: str, at: int, length: int) -> None:
        """The outbox is full and gives records up."""
        box = self.disk[stream]
        if box.kept:
            first = box.kept.first + at % (box.kept.last - box.kept.first + 1)
            self.sender.dropped(stream, first, first + length)
            self._settle(stream, first, first + length)

    @rule()
    def node_restarts(self) -> None:
        self._start_node()

    @rule(stream=STREAM)
    def disk_is_wiped(self, stream: str) -> None:
        self.disk[stream] = box = Outbox(self._epoch())
        self.sender.open(stream, epoch=box.epoch, kept=[], head=0)
        self._land(stream, 1, 10**9)
        for key in [k for k in self.tries if k[0] == stream]:
            del self.tries[key]
        self.live_from[stream] = 1

    # The link

    @rule(seconds=st.sampled_from([0.5, 6.0, 12.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: self.to_center)
    @rule(at=PICK, stays=st.booleans(), count=st.integers(1, 6))
    def arrive_at_center(self, at: int, stays: bool, count: int) -> None:
        for _ in range(count):
            if self.to_center:
                i = at % len(self.to_center)
                self._at_center(self.to_center[i] if stays else self.to_center.pop(i))

    @precondition(lambda self: self.to_node)
    @rule(at=PICK, stays=st.booleans())
    def arrive_at_node(self, at: int, stays: bool) -> None:
        i = at % len(self.to_node)
        self._at_node(self.to_node[i] if stays else self.to_node.pop(i))

    @rule(keep=st.integers(0, 3))
    def packets_are_lost(self, keep: int) -> None:
        del self.to_center[keep:]
        del self.to_node[keep:]

    # The center

    def _at_center(self, packet: Packet) -> None:
        what, stream, epoch, first, last = packet
        book = self.books.setdefault((stream, epoch), Book())
        if what == "head":
            book.announce(first)
        elif what == "lost":
            book.declare_lost(first, last)
        elif book.accept(first):
            self.stored[(stream, epoch), first] += 1

    @rule()
    def center_answers(self) -> None:
        for (stream, epoch), book in self.books.items():
            resend = book.resends(self.now_s, open_s=OPEN_S, again_s=AGAIN_S, limit=4)
            self.to_node.append((stream, epoch, book.acknowledgement(self.ranges), resend))

    @rule()
    def center_restarts(self) -> None:
        for key, book in self.books.items():
            self.books[key] = Book(
                accepted=book.accepted.pairs(),
                lost=book.lost.pairs(),
                duplicates=book.duplicates,
                head=book.head,
            )

    # The answer at the node

    def _at_node(self, answer: Answer) -> None:
        stream, epoch, ranges, resend = answer
        box = self.disk[stream]
        for first, last in self.sender.acknowledged(stream, epoch, ranges):
            book = self.books.get((stream, box.epoch), Book())  # of what is on the disk now
            assert not book.settled().missing(first, last), "deleted, and the center has it not"
            self._settle(stream, first, last)
        unknown = self.sender.asked_again(stream, epoch, resend)
        assert epoch == box.epoch or not unknown
        for first, last in resend if epoch == box.epoch else ():
            for part in box.kept.within(first, last):
                self._land(stream, *part)
        for first, last in unknown:
            assert not box.kept.within(first, last), "declares lost what it has"
            self.to_center.append(("lost", stream, epoch, first, last))

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        assert all(count == 1 for count in self.stored.values())

    @invariant()
    def the_sender_keeps_what_the_disk_keeps(self) -> None:
        for stream, box in self.disk.items():
            assert self.sender.unsent(stream) == len(box.kept)
        assert self.sender.idle() == (not any(box.kept for box in self.disk.values()))

    def teardown(self) -> None:
        """At last the link is good: everything settles."""
        if not hasattr(self, "disk"):
            return
        self.link_up()
        for _ in range(400):
            self.send()
            while self.to_center:
                self._at_center(self.to_center.pop(0))
            self.center_answers()
            while self.to_node:
                self._at_node(self.to_node.pop(0))
            if not self.to_center and self.sender.idle() and self._complete():
                break
            self.now_s += 3.0
        assert self.sender.idle()
        assert self._complete()
        self.nothing_is_stored_twice()
        for (stream, epoch), book in self.books.items():
            assert {seq for (key, seq) in self.stored if key == (stream, epoch)} == {
                seq for first, last in book.accepted for seq in range(first, last + 1)
            }

    def _complete(self) -> bool:
        current = [(stream, box.epoch) for stream, box in self.disk.items()]
        return all(
            self.books[key].complete() and self.books[key].head == self.disk[key[0]].head
            for key in current
            if self.disk[key[0]].head
        )


ConversationTest = Conversation.TestCase
ConversationTest.settings = settings(stateful_step_count=60)
