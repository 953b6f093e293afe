"""Topics, filters, the index of subscriptions and the retained store."""

import sys
from itertools import product
from types import FrameType

import pytest
from farshore_center.broker import Refusal
from farshore_center.broker.retained import Retained, RetainedStore
from farshore_center.broker.topics import (
    SubscriptionIndex,
    filter_fault,
    is_filter,
    is_topic,
    topic_fault,
)
from hypothesis import given
from hypothesis import strategies as st

LEVEL = st.sampled_from(["a", "b", "c", "", "$x"])
TOPICS = st.lists(LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.lists(st.one_of(LEVEL, st.just("+"), st.just("#")), min_size=1, max_size=5).map(
    "/".join
)


def matches(topic: str, topic_filter: str) -> bool:
    """Section 4.7 of the standard, written down as slowly as it reads."""
    if topic.startswith("$") and topic_filter[0] in "+#":
        return False
    names, wanted = topic.split("/"), topic_filter.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        names = names[: len(wanted)]
    return len(names) == len(wanted) and all(
        w in ("+", n) for n, w in zip(names, wanted, strict=True)
    )


@pytest.mark.parametrize(
    ("topic_filter", "expected"),
    [
        ("#", True),
        ("+", True),
        ("a/#", True),
        ("a/+/b", True),
        ("/", True),
        ("+/+/#", True),
        ("", False),
        ("a#", False),
        ("a/#/b", False),
        ("#/a", False),
        ("##", False),
        ("a/b+", False),
        ("++", False),
        ("a\0", False),
    ],
)
def test_a_filter_is_what_the_standard_says(topic_filter: str, expected: bool) -> None:
    assert is_filter(topic_filter) is expected


@pytest.mark.parametrize("topic", ["", "a/+", "a/#", "a\0b"])
def test_no_topic_is_empty_or_holds_a_wildcard_or_nul(topic: str) -> None:
    assert not is_topic(topic)
    assert is_topic("a/b c/ü")


def reason(fault: Refusal | None) -> str | None:
    return fault.reason if fault is not None else None


def test_what_nobody_may_use_is_refused_with_its_reason() -> None:
    bounds = {"max_bytes": 16, "max_levels": 3}
    assert reason(topic_fault("$SYS/x", **bounds)) == "reserved_topic"
    assert reason(topic_fault("a" * 17, **bounds)) == "topic_too_long"
    assert reason(topic_fault("ü" * 9, **bounds)) == "topic_too_long"
    assert reason(topic_fault("a/b/c/d", **bounds)) == "topic_too_deep"
    assert topic_fault("a/b/c", **bounds) is None
    assert reason(filter_fault("$share/g/a", **bounds)) == "shared_subscription"
    assert reason(filter_fault("$SYS/#", **bounds)) == "reserved_topic"
    assert reason(filter_fault("a/#/b", **bounds)) == "bad_filter"
    assert filter_fault("a/#", **bounds) is None


@given(topic=TOPICS, filters=st.lists(FILTERS, max_size=12))
def test_the_index_finds_exactly_who_matches(topic: str, filters: list[str]) -> None:
    filters = [f for f in filters if is_filter(f)]
    index: SubscriptionIndex[int] = SubscriptionIndex()
    for number, topic_filter in enumerate(filters):
        index.add(number, topic_filter, number % 2)
    assert index.match(topic) == {
        number: number % 2 for number, f in enumerate(filters) if matches(topic, f)
    }


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), FILTERS, st.integers(0, 1), st.booleans())), TOPICS
)
def test_the_index_forgets_what_is_removed(
    steps: list[tuple[str, str, int, bool]], topic: str
) -> None:
    index: SubscriptionIndex[str] = SubscriptionIndex()
    model: dict[tuple[str, str], int] = {}
    for who, topic_filter, qos, add in steps:
        if not is_filter(topic_filter):
            continue
        if add:
            index.add(who, topic_filter, qos)
            model[who, topic_filter] = qos
        else:
            index.remove(who, topic_filter)
            model.pop((who, topic_filter), None)
    expected: dict[str, int] = {}
    for (who, topic_filter), qos in model.items():
        if matches(topic, topic_filter):
            expected[who] = max(qos, expected.get(who, 0))
    assert index.match(topic) == expected
    assert len(index) == len(model)
    index.remove_all("x")
    assert index.count("x") == 0
    assert "x" not in index.match(topic)
    for who in "yz":
        index.remove_all(who)
    assert len(index) == 0
    assert not index._matcher._root._children, "an emptied trie keeps nothing"


def steps_of(index: SubscriptionIndex[int], topic: str) -> int:
    """How many calls of functions and resumptions of generators a match takes: work, not time."""
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        index.match(topic)
    finally:
        sys.setprofile(None)
    return count


def test_a_publication_costs_the_same_with_2000_filters_as_with_10() -> None:
    few: SubscriptionIndex[int] = SubscriptionIndex()
    many: SubscriptionIndex[int] = SubscriptionIndex()
    for index, size in ((few, 10), (many, 2_000)):
        for node in range(size):
            index.add(node, f"fs1/down/node-{node}/#", 1)
        index.add(-1, "fs1/up/#", 1)
    for topic in ("fs1/down/node-7/cmd/ping", "fs1/up/node-7/tel/host"):
        assert steps_of(many, topic) == steps_of(few, topic)


@given(st.dictionaries(TOPICS, st.binary(min_size=1, max_size=3), max_size=20), FILTERS)
def test_the_retained_store_finds_exactly_what_matches(
    kept: dict[str, bytes], topic_filter: str
) -> None:
    if not is_filter(topic_filter):
        return
    store = RetainedStore(max_messages=100, max_bytes=10_000)
    kept = {topic: payload for topic, payload in kept.items() if not topic.startswith("$")}
    for topic, payload in kept.items():
        assert store.put(Retained(topic=topic, payload=payload, qos=1))
    found = [m.topic for m in store.match(topic_filter)]
    assert sorted(found) == sorted(topic for topic in kept if matches(topic, topic_filter))
    for topic in kept:
        assert store.put(Retained(topic=topic, payload=b"", qos=1))
    assert len(store) == 0
    assert not list(store.match("#"))
    assert not store._root.children, "an emptied trie keeps nothing"


def test_the_retained_store_is_bounded_in_messages_and_bytes() -> None:
    store = RetainedStore(max_messages=2, max_bytes=100)
    assert store.put(Retained(topic="a", payload=b"1", qos=0))
    assert store.put(Retained(topic="b", payload=b"1", qos=0))
    assert not store.put(Retained(topic="c", payload=b"1", qos=0))
    assert store.put(Retained(topic="a", payload=b"2", qos=0)), "an update needs no more room"
    assert not store.put(Retained(topic="b", payload=b"x" * 100, qos=0))
    assert store.get("b") is None, "the older message would be a lie by now"
    assert store.put(Retained(topic="c", payload=b"x" * 90, qos=0))


def test_a_wildcard_costs_no_more_than_what_lies_below_it() -> None:
    store = RetainedStore(max_messages=5_000, max_bytes=1_000_000)
    for a, b in product(range(40), range(50)):
        store.put(Retained(topic=f"fs1/up/n{a}/x{b}", payload=b"1", qos=0))
    assert len(list(store.match("fs1/up/n7/#"))) == 50
    assert len(list(store.match("fs1/up/+/x3"))) == 40
