"""RangeSet against the plain set that it stands for."""

from itertools import pairwise

import pytest
from farshore_protocol.stream import RangeSet
from hypothesis import given
from hypothesis import strategies as st

TOP = 60
SPAN = st.tuples(st.integers(1, TOP), st.integers(1, TOP)).map(lambda pair: (min(pair), max(pair)))
STEP = st.tuples(st.sampled_from(["add", "discard"]), SPAN)


def members(ranges: RangeSet | list[tuple[int, int]]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


def span(pair: tuple[int, int]) -> set[int]:
    return set(range(pair[0], pair[1] + 1))


def check_form(pairs: list[tuple[int, int]]) -> None:
    """Sorted, disjoint, and never adjacent: there is one form for one set."""
    assert all(first <= last for first, last in pairs)
    assert all(left[1] + 1 < right[0] for left, right in pairwise(pairs))


@given(st.lists(STEP, max_size=25), SPAN)
def test_it_is_a_set(steps: list[tuple[str, tuple[int, int]]], window: tuple[int, int]) -> None:
    ranges, model = RangeSet(), set[int]()
    for what, pair in steps:
        if what == "add":
            assert ranges.add(*pair) == len(span(pair) - model)
            model |= span(pair)
        else:
            assert ranges.discard(*pair) == len(span(pair) & model)
            model -= span(pair)
        check_form(ranges.pairs())
    assert members(ranges) == model
    assert len(ranges) == len(model)
    assert bool(ranges) == bool(model)
    assert (ranges.first, ranges.last) == (min(model, default=0), max(model, default=0))
    assert {n for n in range(TOP + 2) if n in ranges} == model
    for parts, expected in (
        (ranges.missing(*window), span(window) - model),
        (ranges.within(*window), span(window) & model),
    ):
        assert members(parts) == expected
        check_form(parts)


@given(st.lists(SPAN, max_size=12), st.lists(SPAN, max_size=12))
def test_update_is_union_and_copies_part_ways(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    one, two = RangeSet(left), RangeSet(right)
    both = one.copy()
    both.update(two)
    assert members(both) == members(one) | members(two)
    check_form(both.pairs())
    assert RangeSet(both.pairs()) == both
    assert (one == two) == (members(one) == members(two))
    both.add(1, TOP)
    assert one == RangeSet(left)


@pytest.mark.parametrize("pair", [(0, 3), (-1, 1), (5, 4)])
def test_a_range_that_is_none_is_refused_and_changes_nothing(pair: tuple[int, int]) -> None:
    ranges = RangeSet([(1, 10)])
    with pytest.raises(ValueError, match="expected"):
        ranges.add(*pair)
    assert ranges.pairs() == [(1, 10)]


def test_a_reversed_range_holds_nothing() -> None:
    ranges = RangeSet([(1, 10)])
    with pytest.raises(ValueError, match="expected"):
        ranges.discard(5, 3)
    assert ranges.within(5, 3) == []
    assert ranges.missing(25, 23) == []
    assert ranges.pairs() == [(1, 10)]


def test_length_does_not_cost() -> None:
    ranges = RangeSet([(1, 2**53 - 1)])
    assert ranges.discard(1000) == 1
    assert len(ranges) == 2**53 - 2
    assert ranges.missing(1, 2**53 - 1) == [(1000, 1000)]
