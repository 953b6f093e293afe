"""A disk that went back in time: which records go on, which are declared; pure."""

from collections.abc import Iterable

import pytest
from edge.edge_bench import timing
from farshore_edge.database import Loss
from farshore_edge.outbox.envelope import seal
from farshore_edge.outbox.rewind import Gate, fate, given_up, resealed
from farshore_protocol.clock import ManualClock
from farshore_protocol.stream import STREAMS, Book, RangeSet, StreamAck
from farshore_protocol.stream.model import MAX_RANGES
from hypothesis import given
from hypothesis import strategies as st

SEQS = st.integers(1, 40)
SETS = st.sets(SEQS)


def ranges(seqs: Iterable[int]) -> RangeSet:
    return RangeSet((seq, seq) for seq in seqs)


@given(kept_then=SETS, head_then=st.integers(0, 40), future=SETS, made=st.integers(0, 20))
def test_after_a_turn_everything_is_accepted_once_or_declared(
    kept_then: set[int], head_then: int, future: set[int], made: int
) -> None:
    """What the disk held at the copy, what the lost time gave to the center, what was made since."""
    kept = {seq for seq in kept_then if seq <= head_then}
    acknowledged = set(range(1, head_then + 1)) - kept
    center = acknowledged | {seq for seq in future if seq > head_then or seq in kept}
    head = max(center, default=0)
    mine = set(range(head_then + 1, head_then + made + 1))
    word = StreamAck(epoch="e", ranges=tuple(ranges(center)), head=head)
    found = fate(ranges(kept | mine).pairs(), word, before=head_then, began=head_then)
    again = {seq for part in found.again for seq in range(part[0], part[1] + 1)}
    assert mine <= again, "a record that was made since is another one, whatever its seq"
    assert again - mine == kept - center, "what the center has is not sent again, the rest is"
    book = Book(accepted=ranges(center), head=head)
    for part in (*found.lost, *found.renumbered):
        book.declare_lost(*part)
    assert book.complete()
    assert book.head == max(head, *again, 0), "what went on is closed beyond what the center knows"


@given(kept_then=SETS, head_then=st.integers(0, 40), future=SETS, made=st.integers(1, 20))
def test_a_second_turn_sends_nothing_that_the_first_one_sent(
    kept_then: set[int], head_then: int, future: set[int], made: int
) -> None:
    """The disk goes back again, to a copy from between the first time and its recognition."""
    kept = {seq for seq in kept_then if seq <= head_then}
    center = (set(range(1, head_then + 1)) - kept) | {s for s in future if s > head_then}
    between = ranges(kept | set(range(head_then + 1, head_then + made + 1)))
    book = Book(accepted=ranges(center), head=max(center, default=0))
    word = StreamAck(epoch="e", ranges=tuple(ranges(center)), head=book.head)
    first = fate(between.pairs(), word, before=head_then, began=head_then)
    for part in (*first.lost, *first.renumbered):
        book.declare_lost(*part)
    word = StreamAck(epoch="e", ranges=book.acknowledgement(), head=book.head)
    second = fate(between.pairs(), word, before=head_then, began=head_then + made)
    assert not second.again


@given(kept=SETS, center=SETS, before=st.integers(0, 40), since=st.integers(0, 10))
def test_what_cannot_be_told_apart_is_declared_and_not_sent(
    kept: set[int], center: set[int], before: int, since: int
) -> None:
    """Records of an agent that nobody answered: the center's may be the same ones, or others."""
    began = before + since
    kept = {seq for seq in kept if seq <= began}
    word = StreamAck(epoch="e", ranges=tuple(ranges(center)), head=max(center, default=0))
    found = fate(ranges(kept).pairs(), word, before=before, began=began)
    for seq in kept:
        doubtful = seq in center and seq > before
        assert (seq in found.again) == (seq not in center)
        assert (seq in found.lost) >= doubtful


def test_what_an_answer_of_many_ranges_leaves_open_is_declared_and_not_sent() -> None:
    listed = [(1, 1), *((2 * n, 2 * n) for n in range(500, 500 + MAX_RANGES - 1))]
    word = StreamAck(epoch="e", ranges=tuple(listed), head=2_000)
    found = fate([(10, 10), (1_990, 1_990)], word, before=1_995, began=1_995)
    assert found.again.pairs() == [(1_990, 1_990)]
    assert 10 in found.lost


@given(
    lines=st.lists(
        st.tuples(st.sampled_from(["quota", "thinned", "died"]), SEQS, st.integers(0, 9))
    ),
    above=st.integers(0, 40),
    known=st.integers(0, 40),
)
def test_what_was_given_up_is_said_once_where_the_center_has_others(
    lines: list[tuple[str, int, int]], above: int, known: int
) -> None:
    ledger = [
        Loss(stream="events", epoch=epoch, first=first, last=first + more, reason=reason, at_ms=0)
        for reason, first, more in lines
        for epoch in ("e", "other")[: 1 + first % 2]
    ]
    reasons = frozenset({"quota", "thinned"})
    found = given_up(ledger, "events", "e", reasons=reasons, above=above, known=known)
    seqs = [seq for _, first, last in found for seq in range(first, last + 1)]
    assert len(seqs) == len(set(seqs))
    meant = {s for r, first, more in lines if r in reasons for s in range(first, first + more + 1)}
    assert set(seqs) == {seq for seq in meant if above < seq <= known}
    assert not given_up(ledger, "metrics", "e", reasons=reasons, above=0, known=40)


@pytest.mark.parametrize("body", [{"x": 1}, {"m": {"a": [1.5] * 900}}])
def test_a_resealed_record_is_the_same_but_for_its_number(body: dict[str, object]) -> None:
    clock = ManualClock()
    fields = timing(clock).fields()
    old = seal(body, epoch="old", seq=7, timing=fields, compress=True)
    assert resealed(old, old=("old", 7), new=("newer", 1)) == seal(
        body, epoch="newer", seq=1, timing=fields, compress=True
    )


def test_the_gate_opens_only_when_every_stream_is_answered_on_this_connection() -> None:
    gate = Gate(dict.fromkeys(STREAMS, "e"), dict.fromkeys(STREAMS, 5))
    gate.link_up(0.0)
    answer = StreamAck(epoch="e", head=5)
    assert not gate.heard({"metrics": answer, "events": answer}, 1.0)
    gate.link_up(2.0)
    assert not gate.heard({"results": answer, "reports": answer}, 3.0), "another connection"
    assert not gate.heard(dict.fromkeys(STREAMS, StreamAck(epoch="e")), 3.0), "of records"
    assert not gate.heard(dict.fromkeys(STREAMS, StreamAck(epoch="f", head=5)), 3.0)
    assert gate.heard(dict.fromkeys(STREAMS, answer), 3.0)
    assert not gate.rewound()
    assert gate.heard({"events": StreamAck(epoch="e", head=6)}, 3.0)
    assert gate.rewound()


def test_an_older_center_that_says_no_heads_is_believed_after_a_while() -> None:
    gate = Gate(dict.fromkeys(STREAMS, "e"), dict.fromkeys(STREAMS, 5))
    gate.link_up(0.0)
    word = dict.fromkeys(STREAMS, StreamAck(epoch="e", ranges=((1, 5),)))
    assert not gate.heard(word, 29.0)
    assert gate.heard(word, 31.0)
    assert not gate.rewound()
