"""The center's book, case by case."""

import pytest
from farshore_protocol.stream import Book, RangeSet
from hypothesis import given
from hypothesis import strategies as st

SEQS = st.lists(st.integers(1, 40), max_size=60)
SPANS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(1, 40)).map(lambda p: (min(p), max(p))), max_size=8
)


@given(SEQS, SPANS, SEQS, st.integers(0, 50))
def test_each_is_new_once_and_what_was_accepted_is_never_lost(
    before: list[int], lost: list[tuple[int, int]], after: list[int], head: int
) -> None:
    book = Book()
    stored = [seq for seq in before if book.accept(seq)]
    declared: set[int] = set()
    for first, last in lost:
        news = {n for a, b in book.declare_lost(first, last) for n in range(a, b + 1)}
        assert news == set(range(first, last + 1)) - set(before) - declared
        declared |= news
    stored += [seq for seq in after if book.accept(seq)]
    book.announce(head)

    assert sorted(stored) == sorted({*before, *after})
    assert book.duplicates == len(before) + len(after) - len(stored)
    assert not any(seq in book.lost for seq in stored), "arrival beats the declaration"
    settled = {*stored, *declared}
    assert book.head == max([head, *settled])
    holes = {n for a, b in book.holes() for n in range(a, b + 1)}
    assert holes == set(range(1, book.head + 1)) - settled
    assert book.complete() == (not holes)
    assert RangeSet(book.acknowledgement()) == book.settled()

    again = Book(accepted=book.accepted, lost=book.lost, duplicates=book.duplicates, head=book.head)
    assert again.holes() == book.holes()
    assert not any(again.accept(seq) for seq in stored)


@given(SEQS, st.integers(1, 8))
def test_a_bounded_acknowledgement_is_true_and_has_the_lowest_and_the_newest(
    seqs: list[int], limit: int
) -> None:
    book = Book()
    for seq in seqs:
        book.accept(seq)
    ranges = book.acknowledgement(limit)
    pairs = book.settled().pairs()
    assert len(ranges) == min(limit, len(pairs))
    assert set(ranges) <= set(pairs)
    if pairs:
        assert ranges[0] == pairs[0]
    if limit > 1 and pairs:
        assert ranges[-1] == pairs[-1]


def test_a_hole_is_asked_for_when_it_stays_open_and_then_again_and_again() -> None:
    book = Book(accepted=[(1, 1), (4, 4)], head=6)

    def asked(now_s: float) -> tuple[tuple[int, int], ...]:
        return book.resends(now_s, open_s=5, again_s=30)

    assert asked(0) == ()
    assert asked(4.9) == ()
    assert asked(5) == ((2, 3), (5, 6))
    assert asked(34.9) == ()
    assert asked(35) == ((2, 3), (5, 6))
    book.declare_lost(2, 3)
    assert asked(65) == ((5, 6),)
    book.accept(5)
    assert asked(100) == (), "what is left is a hole that opened now"
    book.accept(6)
    assert asked(1000) == ()


def test_many_holes_are_asked_for_in_turns() -> None:
    book = Book(accepted=[(n, n) for n in range(2, 21, 2)])
    seen: set[tuple[int, int]] = set()
    for now_s in range(30):
        due = book.resends(now_s, open_s=1, again_s=100, limit=3)
        assert len(due) <= 3
        assert not seen & set(due)
        seen |= set(due)
    assert seen == set(book.holes())


@pytest.mark.parametrize("head", [0, 5])
def test_an_empty_book(head: int) -> None:
    book = Book(head=head)
    assert book.acknowledgement() == ()
    assert book.complete() == (head == 0)
