"""The books: whatever the order, the batching and the repetitions, each record is stored once."""

from collections.abc import Sequence
from typing import Any

from farshore_center.ingest.arrival import Arrival, read, refused
from farshore_center.ingest.engine import Decision, Greeting, Key, decide
from farshore_protocol.codec import encode
from farshore_protocol.errors import MessageError
from farshore_protocol.messages import StreamHead
from farshore_protocol.stream import Book, RangeSet
from farshore_protocol.topics import parse
from hypothesis import given
from hypothesis import strategies as st

KEY: Key = ("pi-1", "metrics", "e1")


def arrival(path: str, seq: int, *, node: str = "pi-1", epoch: str = "e1", **body: Any) -> Arrival:
    content = {"epoch": epoch, "seq": seq, "boot": "b", "up_ms": 1, "ts": 1000, **body}
    return read(parse(f"fs1/up/{node}/{path}"), encode(content))  # type: ignore[arg-type] # an Up


def sample(seq: int, **more: Any) -> Arrival:
    return arrival("tel/host", seq, dt=[0], m={"x": [1]}, **more)


def wrong(seq: int) -> Arrival:
    return arrival("tel/host", seq, dt=[0], m={"x": [1, 2]})


def loss(seq: int, first: int, last: int) -> Arrival:
    data = {"stream": "metrics", "epoch": "e1", "range": [first, last], "reason": "quota"}
    return arrival("evt/loss", seq, data=data)


def greeting(head: int) -> Greeting:
    return Greeting(node="pi-1", heads={"metrics": StreamHead(epoch="e1", head=head)})


SEQ = st.integers(1, 30)
ITEM = st.one_of(
    SEQ.map(sample),
    SEQ.map(wrong),
    st.tuples(SEQ, SEQ, SEQ).map(lambda t: loss(t[0], min(t[1:]), max(t[1:]))),
    st.integers(0, 30).map(greeting),
)


@given(groups=st.lists(st.lists(ITEM, max_size=12), max_size=12))
def test_each_record_is_stored_once_in_any_order(groups: list[list[Any]]) -> None:
    books: dict[Key, Book] = {}
    stored: list[tuple[str, int]] = []
    came: set[int] = set()
    refused_only: set[int] = set()
    for group in groups:
        decision = decide(books, group)
        stored += [(a.stream, a.envelope.seq) for a in decision.fresh]
        for item in group:
            if isinstance(item, Arrival) and item.stream == "metrics":
                (refused_only if item.fault else came).add(item.envelope.seq)
        assert all(key in decision.changed for key in {line.key for line in decision.lost})
        for key in decision.acknowledge:
            book = books[key]
            acknowledged = RangeSet(book.acknowledgement())
            settled = book.settled()
            assert all(settled.missing(*pair) == [] for pair in acknowledged)
            for first, last in book.lost:
                assert not book.accepted.within(first, last), "lost never overlaps accepted"
    assert len(stored) == len(set(stored)), "nothing is stored twice"
    assert {seq for stream, seq in stored if stream == "metrics"} == came
    book = books.get(KEY, Book())
    assert {s for first, last in book.accepted for s in range(first, last + 1)} == came
    assert all(seq in book.accepted or seq in book.lost for seq in refused_only)
    assert book.duplicates == sum(
        isinstance(item, Arrival) and item.stream == "metrics" for g in groups for item in g
    ) - len(came) - _refusals(groups)


def _refusals(groups: Sequence[Sequence[Any]]) -> int:
    """How often a wrong body was the first that was heard of its seq."""
    settled: set[tuple[str, int]] = set()
    count = 0
    for item in (item for group in groups for item in group):
        if isinstance(item, Greeting):
            continue
        place = (item.stream, item.envelope.seq)
        if item.stream == "metrics":
            count += item.fault is not None and place not in settled
        elif place not in settled:
            first, last = item.body.data["range"]
            settled |= {("metrics", seq) for seq in range(first, last + 1)}
        settled.add(place)
    return count


@given(order=st.permutations(list(range(1, 16))), cuts=st.sets(st.integers(1, 14)))
def test_the_batching_changes_nothing(order: list[int], cuts: set[int]) -> None:
    at_once: dict[Key, Book] = {}
    decide(at_once, [sample(seq) for seq in order])
    in_parts: dict[Key, Book] = {}
    start = 0
    for end in [*sorted(cuts), len(order)]:
        decide(in_parts, [sample(seq) for seq in order[start:end]])
        start = end
    assert at_once[KEY].accepted == in_parts[KEY].accepted == RangeSet([(1, 15)])


def test_a_wrong_body_is_acknowledged_as_lost_with_a_line() -> None:
    books: dict[Key, Book] = {}
    decision = decide(books, [wrong(1)])
    (line,) = decision.lost
    assert (line.key, line.first, line.last) == (KEY, 1, 1)
    assert line.reason == "refused by the center: bad_message"
    assert books[KEY].acknowledgement() == ((1, 1),)
    assert [fault.reason for _, fault in decision.faulty] == ["bad_message"]
    assert decision.fresh == []


def test_a_record_comes_after_its_body_was_refused() -> None:
    """A repaired agent sends it again under the same number: arrival beats the refusal."""
    books: dict[Key, Book] = {}
    decide(books, [wrong(1)])
    assert len(decide(books, [sample(1)]).fresh) == 1
    assert not books[KEY].lost


def test_a_declared_loss_fills_the_hole_and_spares_what_came() -> None:
    books: dict[Key, Book] = {}
    decide(books, [sample(1), sample(3), sample(6)])
    assert books[KEY].holes() == [(2, 2), (4, 5)]
    decision = decide(books, [loss(1, 2, 5)])
    assert [(line.first, line.last, line.reason) for line in decision.lost] == [
        (2, 2, "quota"),
        (4, 5, "quota"),
    ]
    assert books[KEY].holes() == []
    assert set(decision.acknowledge) == {KEY, ("pi-1", "events", "e1")}


def test_a_greeting_announces_the_head_and_is_answered() -> None:
    books: dict[Key, Book] = {}
    decision = decide(books, [greeting(7)])
    assert (books[KEY].head, books[KEY].holes()) == (7, [(1, 7)])
    assert list(decision.acknowledge) == [KEY]
    assert decide(books, [greeting(3)]).changed == set(), "an older head says nothing"


def test_a_new_epoch_is_no_replay() -> None:
    books: dict[Key, Book] = {}
    decision = decide(books, [sample(1), sample(1, epoch="e2")])
    assert len(decision.fresh) == 2


def test_refused_keeps_the_envelope() -> None:
    taken = refused(sample(4), MessageError("not_storable", "x"))
    decision: Decision = decide({}, [taken])
    assert [line.first for line in decision.lost] == [4]
