"""Who gives way: only the clearly weaker, as few as can be, and never round in circles."""

import random
from dataclasses import replace
from itertools import combinations

import pytest
from center_placement.generated import demands, filled, nodes, plain_demands
from center_placement.naive import Free, reason
from farshore_center.placement import (
    POLICIES,
    Choice,
    Demand,
    NodeCapacity,
    PlacementError,
    Pool,
    choose,
    preempt,
)
from hypothesis import given
from hypothesis import strategies as st

DEFAULT = POLICIES["default"]
NODE = NodeCapacity(node="a", cpu_milli=4000, gpus=("T4", "T4"), devices=frozenset({"cam"}))


def holding(*held: tuple[str, str, int, int]) -> Pool:
    """Nodes a and b; ``held``: node, task, cores and priority."""
    pool = Pool([NODE, replace(NODE, node="b")])
    for node, task, cores, priority in held:
        pool.place(task, Demand(cpu_milli=cores * 1000, priority=priority), node)
    return pool


def victims(pool: Pool, demand: Demand, **more: object) -> list[str] | None:
    found = preempt(pool, demand, **more)  # type: ignore[arg-type]
    return None if found is None else sorted(victim.task for victim in found.victims)


@given(nodes, st.lists(plain_demands, max_size=15), demands, st.integers(1, 30))
def test_victims_are_weaker_by_the_distance_and_their_going_makes_room(
    given_nodes: list[NodeCapacity], before: list[Demand], demand: Demand, distance: int
) -> None:
    pool = filled(given_nodes, before, DEFAULT)
    if isinstance(choose(pool, demand), Choice):
        return
    found = preempt(pool, demand, distance=distance)
    if found is None:
        assert not _possible(pool, demand, distance)
        return
    assert found.victims
    assert all(v.node == found.node for v in found.victims)
    assert all(v.priority <= demand.priority - distance for v in found.victims)
    after = pool.without(*(victim.task for victim in found.victims))
    after.place("it", demand, found.node, found.gpus)
    for victim in found.victims:  # no victim is one too many
        spared = pool.without(*(v.task for v in found.victims if v is not victim))
        free = Free(pool.node(found.node), spared.on(found.node), demand.driver)
        assert reason(pool.node(found.node), free, demand)


def _possible(pool: Pool, demand: Demand, distance: int) -> bool:
    """Whether all who may go, going, would make room on some node."""
    gone = [t for t, p in pool.placements.items() if p.priority <= demand.priority - distance]
    return bool(gone) and isinstance(choose(pool.without(*gone), demand), Choice)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 6)), min_size=1, max_size=6),
    st.integers(1, 4),
)
def test_on_one_node_no_set_does_less_harm(held: list[tuple[int, int]], needed: int) -> None:
    pool = Pool([replace(NODE, cpu_milli=sum(cores for cores, _ in held) * 1000)])
    for number, (cores, tens) in enumerate(held):
        pool.place(f"t{number}", Demand(cpu_milli=cores * 1000, priority=tens * 10), "a")
    demand = Demand(cpu_milli=needed * 1000, priority=50)
    may = [p for p in pool.placements.values() if p.priority <= 40]
    sets = [
        (max(p.priority for p in chosen), len(chosen), sum(p.cpu_milli for p in chosen))
        for size in range(1, len(may) + 1)
        for chosen in combinations(may, size)
        if sum(p.cpu_milli for p in chosen) >= demand.cpu_milli
    ]
    found = preempt(pool, demand)
    if found is None:
        assert not sets
    else:
        gone = found.victims
        harm = max(p.priority for p in gone), len(gone), sum(p.cpu_milli for p in gone)
        assert harm == min(sets)


@given(nodes, st.lists(plain_demands, min_size=1, max_size=12), st.integers(0, 99))
def test_tasks_that_push_each_other_out_come_to_rest(
    given_nodes: list[NodeCapacity], tasks: list[Demand], seed: int
) -> None:
    """Whoever was pushed out comes again and may push out others. Each preemption puts a task in the place
    of weaker ones, so the sorted priorities of those that run grow: there is no circle."""
    pool, rng = Pool(given_nodes), random.Random(seed)
    waiting = [(f"t{number}", demand) for number, demand in enumerate(tasks)]
    all_of = dict(waiting)
    idle = 0
    for _ in range(len(tasks) * 3**4):
        if not waiting or idle > len(waiting):
            return
        task, demand = waiting.pop(rng.randrange(len(waiting)) if idle == 0 else 0)
        found = choose(pool, demand)
        if isinstance(found, Choice):
            pool.place(task, demand, found.node, found.gpus)
            idle = 0
        elif its := preempt(pool, demand, distance=10):
            for victim in its.victims:
                pool.remove(victim.task)
                assert victim.priority + 10 <= demand.priority
                waiting.append((victim.task, all_of[victim.task]))
            pool.place(task, demand, its.node, its.gpus)
            idle = 0
        else:
            waiting.append((task, demand))
            idle += 1
    pytest.fail("they never came to rest")


def test_the_lowest_priorities_give_way_first_then_the_fewest_then_the_smallest() -> None:
    pool = holding(("a", "low", 4, 10), ("b", "high", 4, 30))
    assert victims(pool, Demand(cpu_milli=1000, priority=60)) == ["low"]
    pool = holding(("a", "x", 2, 10), ("a", "y", 2, 10), ("b", "z", 4, 10))
    assert victims(pool, Demand(cpu_milli=3000, priority=60)) == ["z"]
    pool = holding(("a", "x", 1, 10), ("a", "y", 3, 10), ("b", "z", 4, 10))
    assert victims(pool, Demand(cpu_milli=2000, priority=60)) == ["y"]


def test_the_distance_is_a_bound_and_the_equal_are_safe() -> None:
    pool = holding(("a", "x", 4, 41), ("b", "y", 4, 50))
    assert victims(pool, Demand(cpu_milli=1000, priority=50)) is None
    assert victims(pool, Demand(cpu_milli=1000, priority=51)) == ["x"]
    assert victims(pool, Demand(cpu_milli=1000, priority=50), distance=1) == ["x"]
    with pytest.raises(PlacementError, match="must be 1 or more, not 0"):
        preempt(pool, Demand(), distance=0)


def test_a_spared_task_stays_and_another_goes() -> None:
    pool = holding(("a", "x", 4, 10), ("b", "y", 4, 20))
    demand = Demand(cpu_milli=1000, priority=60)
    assert victims(pool, demand, spared={"x"}) == ["y"]
    assert victims(pool, demand, spared={"x", "y"}) is None


def test_a_node_that_would_refuse_the_task_anyway_loses_nothing() -> None:
    pool = holding(("a", "x", 4, 10), ("b", "y", 4, 20))
    pool.refuse("a", "drained")
    assert victims(pool, Demand(cpu_milli=1000, priority=60)) == ["y"]
    assert victims(pool, Demand(cpu_milli=1000, priority=60, where="core")) is None
    assert victims(pool, Demand(cpu_milli=9000, priority=60)) is None, "larger than any node"


def test_room_for_devices_and_gpus_is_made_too() -> None:
    pool = Pool([NODE])
    pool.place("cam", Demand(devices=frozenset({"cam"}), priority=10), "a")
    pool.place("share", Demand(gpu_milli=100, priority=10), "a", (0,))
    pool.place("more", Demand(gpu_milli=300, priority=10), "a", (1,))
    assert victims(pool, Demand(devices=frozenset({"cam"}), priority=60)) == ["cam"]
    assert victims(pool, Demand(gpus=1, priority=60)) == ["share"]
    found = preempt(pool, Demand(gpus=2, priority=60))
    assert found is not None
    assert sorted(v.task for v in found.victims) == ["more", "share"]
    assert found.gpus == (0, 1)


def test_a_share_gets_the_gpu_on_which_it_leaves_least() -> None:
    pool = Pool([NODE])
    pool.place("stays", Demand(gpu_milli=400, priority=60), "a", (1,))
    pool.place("cpu", Demand(cpu_milli=4000, priority=10), "a")
    found = preempt(pool, Demand(cpu_milli=1000, gpu_milli=500, priority=60))
    assert found is not None
    assert ([v.task for v in found.victims], found.gpus) == (["cpu"], (1,))


def test_of_many_small_tasks_a_small_set_is_found_in_time() -> None:
    """A set of the fewest can't be searched for among hundreds: it is approached."""
    pool = Pool([replace(NODE, node=f"n{at:03d}", cpu_milli=64000) for at in range(30)])
    for number in range(30 * 64):
        pool.place(f"t{number}", Demand(cpu_milli=1000, priority=number % 4), f"n{number % 30:03d}")
    found = preempt(pool, Demand(cpu_milli=8000, priority=50))
    assert found is not None
    assert len(found.victims) == 8
