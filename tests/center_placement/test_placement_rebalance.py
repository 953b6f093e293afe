"""Moves: only for a clear gain, only of rested tasks, only so many, and not back again."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from center_placement.generated import filled, nodes, plain_demands
from farshore_center.placement import (
    POLICIES,
    Affinity,
    Brakes,
    Choice,
    Demand,
    NodeCapacity,
    PlacementError,
    Policy,
    Pool,
    rebalance,
)
from farshore_center.placement.judge import judge
from hypothesis import given
from hypothesis import strategies as st

SPREAD = POLICIES["spread"]
NODE = NodeCapacity(node="a", cpu_milli=10_000, memory_bytes=10)
ONE = Demand(cpu_milli=1000, memory_bytes=1)

brakes = st.builds(Brakes, min_gain=st.sampled_from([0.01, 0.1, 0.3]), moves=st.integers(0, 4))


def crowded(count: int) -> tuple[Pool, dict[str, Demand]]:
    """All of ``count`` tasks on node a, none on b."""
    pool = Pool([NODE, replace(NODE, node="b")])
    tasks = {f"t{number}": ONE for number in range(count)}
    for task, demand in tasks.items():
        pool.place(task, demand, "a")
    return pool, tasks


@given(
    nodes,
    st.lists(plain_demands, max_size=10),
    st.sampled_from([POLICIES["default"], SPREAD]),
    brakes,
    st.dictionaries(st.integers(0, 9), st.sampled_from([10.0, 599.0, 600.0])),
)
def test_each_move_is_worth_it_fits_and_keeps_to_budget_and_rest(
    given_nodes: list[NodeCapacity],
    tasks: list[Demand],
    policy: Policy,
    given_brakes: Brakes,
    moved: Mapping[int, float],
) -> None:
    pool = filled(given_nodes, tasks, SPREAD)
    movable = {f"t{number}": demand for number, demand in enumerate(tasks)}
    ago = {f"t{number}": s for number, s in moved.items()}
    before = dict(pool.placements)
    moves = rebalance(pool, movable, policy, moved_s_ago=ago, brakes=given_brakes)
    assert dict(pool.placements) == before
    assert len(moves) <= given_brakes.moves
    assert len({move.task for move in moves}) == len(moves)
    for move in moves:
        assert move.source == pool.placement(move.task).node != move.choice.node
        assert ago.get(move.task, 600.0) >= 600.0
        demand, held = movable[move.task], pool.remove(move.task)
        mean = judge(pool, demand, policy).mean
        row = pool.columns.row
        gain = mean[row[move.choice.node]] - mean[row[held.node]]
        assert gain == pytest.approx(move.gain)
        assert gain >= given_brakes.min_gain
        pool.place(
            move.task, demand, move.choice.node, move.choice.gpus
        )  # raises if it does not fit


@given(nodes, st.lists(plain_demands, max_size=8), st.sampled_from([POLICIES["default"], SPREAD]))
def test_without_news_rounds_come_to_rest(
    given_nodes: list[NodeCapacity], tasks: list[Demand], policy: Policy
) -> None:
    """Every task keeps its place in the end, if nothing else changes: nothing goes back and forth."""
    pool = filled(given_nodes, tasks, POLICIES["default"])
    movable = {f"t{number}": demand for number, demand in enumerate(tasks)}
    for _ in range(30):
        moves = rebalance(pool, movable, policy, brakes=Brakes(min_gain=0.05))
        if not moves:
            return
        for move in moves:
            pool.remove(move.task)
            pool.place(move.task, movable[move.task], move.choice.node, move.choice.gpus)
    pytest.fail("tasks are still moved about")


def test_a_crowd_is_thinned_until_the_gain_is_small() -> None:
    pool, tasks = crowded(8)
    moves = rebalance(pool, tasks, SPREAD, brakes=Brakes(min_gain=0.2, moves=9))
    assert [round(move.gain, 3) for move in moves] == [0.7, 0.5, 0.3]
    assert {move.choice.node for move in moves} == {"b"}


def test_small_gains_move_nothing() -> None:
    pool, tasks = crowded(1)
    assert rebalance(pool, tasks, SPREAD) == (), "alone on its node, it gains nothing elsewhere"
    pool, tasks = crowded(2)
    assert rebalance(pool, tasks, SPREAD, brakes=Brakes(min_gain=0.11)) == ()
    assert len(rebalance(pool, tasks, SPREAD, brakes=Brakes(min_gain=0.09))) == 1


def test_the_budget_and_the_rest_hold() -> None:
    pool, tasks = crowded(8)
    assert len(rebalance(pool, tasks, SPREAD, brakes=Brakes(moves=2))) == 2
    assert rebalance(pool, tasks, SPREAD, brakes=Brakes(moves=0)) == ()
    just_moved = dict.fromkeys(tasks, 599.9) | {"t3": 600.0}
    moves = rebalance(pool, tasks, SPREAD, moved_s_ago=just_moved)
    assert [move.task for move in moves] == ["t3"]


def test_what_is_not_in_the_pool_or_no_longer_taken_by_its_node_is_left_alone() -> None:
    pool, tasks = crowded(8)
    assert rebalance(pool, {"ghost": ONE}, SPREAD) == ()
    pool.refuse("a", "drained")
    assert rebalance(pool, tasks, SPREAD) == (), "bringing tasks away is the drain's work"


def test_a_new_liking_moves_a_task() -> None:
    pool, _ = crowded(1)
    liking = replace(ONE, affinities=(Affinity(nodes=frozenset("b"), weight=1),))
    (move,) = rebalance(pool, {"t0": liking})
    assert isinstance(move.choice, Choice)
    assert (move.source, move.choice.node) == ("a", "b")


def test_brakes_that_hold_nothing_are_refused() -> None:
    for wrong in ({"min_gain": 0.0}, {"min_gain": 1.1}, {"moves": -1}, {"cooldown_s": -1.0}):
        with pytest.raises(PlacementError, match="must be"):
            Brakes(**wrong)
