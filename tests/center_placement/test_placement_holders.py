"""Bounds of the harm that room for a task would do: never above the true one, never a node left out."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from center_placement.generated import filled, nodes, plain_demands
from farshore_center.placement import POLICIES, Demand, NodeCapacity, Pool, preempt
from farshore_center.placement.holders import Harm, harm
from farshore_center.placement.room import Beside, gpus_with
from hypothesis import given
from hypothesis import strategies as st

DEFAULT = POLICIES["default"]
SUBSETS_OF = 7


def bounds(pool: Pool, demand: Demand, highest: int) -> list[tuple[Harm, str]]:
    rows = np.arange(len(pool))
    found = list(pool.holders.least(rows, demand, highest))
    return [(bound, pool.columns.names[row]) for bound, row in found]


def harms(pool: Pool, node: str, demand: Demand, highest: int) -> Iterator[Harm]:
    """Of every set of the weaker whose going makes room; one that is empty needs somebody to be there."""
    held = pool.on(node)
    weaker = [each for each in held if each.priority <= highest]
    for size in range(len(weaker) + 1):
        for gone in combinations(weaker, size):
            stay = [each for each in held if each not in gone]
            if weaker and gpus_with(pool.node(node), stay, demand) is not None:
                yield harm(pool.node(node), gone)


@given(nodes, st.lists(plain_demands, max_size=15), plain_demands, st.integers(0, 60))
def test_no_set_that_makes_room_does_less_harm_than_the_bound(
    given_nodes: list[NodeCapacity], before: list[Demand], demand: Demand, highest: int
) -> None:
    pool = filled(given_nodes, before, DEFAULT)
    found = bounds(pool, demand, highest)
    assert found == sorted(found)
    said = {name: bound for bound, name in found}
    for node in pool.columns.names:
        if len(pool.on(node)) > SUBSETS_OF:
            continue
        least = min(harms(pool, node, demand, highest), default=None)
        if least is not None:
            assert said[node] <= least


@given(
    nodes,
    st.lists(plain_demands, max_size=12),
    st.lists(st.integers(0, 11), max_size=6),
    plain_demands,
)
def test_what_was_booked_meanwhile_counts(
    given_nodes: list[NodeCapacity], before: list[Demand], gone: list[int], demand: Demand
) -> None:
    pool = filled(given_nodes, before, DEFAULT)
    bounds(pool, demand, 60)
    for number in gone:
        placed = sorted(pool.placements)
        if placed:
            pool.remove(placed[number % len(placed)])
            assert bounds(pool, demand, 60) == bounds(pool.copy(), demand, 60)
    for name in pool.columns.names:
        pool.adopt(f"more on {name}", replace(demand, priority=10), name)
    assert bounds(pool, demand, 60) == bounds(pool.copy(), demand, 60)


@given(nodes, st.lists(plain_demands, max_size=15), plain_demands, st.data())
def test_beside_fewer_is_as_beside_the_rest(
    given_nodes: list[NodeCapacity], before: list[Demand], demand: Demand, data: st.DataObject
) -> None:
    pool = filled(given_nodes, before, DEFAULT)
    for name in pool.columns.names:
        node, held = pool.node(name), pool.on(name)
        gone = data.draw(st.lists(st.sampled_from(held), unique=True) if held else st.just([]))
        stay = [each for each in held if each not in gone]
        assert Beside(node, held, demand).gpus_without(gone) == gpus_with(node, stay, demand)


@pytest.mark.parametrize("cores", [1, 4])
def test_few_of_many_nodes_are_thought_through(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool([NodeCapacity(node=f"n{at:03d}", cpu_milli=8000) for at in range(300)])
    for number in range(300 * 8):
        priority = 10 if number % 300 == 250 else 20
        pool.place(f"t{number}", Demand(cpu_milli=1000, priority=priority), f"n{number % 300:03d}")
    thought: list[NodeCapacity] = []
    begin = Beside.__init__

    def count(self: Beside, node: NodeCapacity, *rest: object) -> None:
        thought.append(node)
        begin(self, node, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Beside, "__init__", count)
    found = preempt(pool, Demand(cpu_milli=cores * 1000, priority=50))
    assert found is not None
    assert (found.node, len(found.victims)) == ("n250", cores)
    assert len(thought) <= 10
