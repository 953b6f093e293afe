"""The books: exact, never more than there is, and the same however they came about."""

from dataclasses import replace

import numpy as np
import pytest
from center_placement.generated import GROUPS, NAMES, demands, node, nodes, plain_demands
from center_placement.naive import Free
from farshore_center.placement import (
    POLICIES,
    Choice,
    Demand,
    NodeCapacity,
    Policy,
    Pool,
    choose,
)
from farshore_center.placement.errors import (
    CapacityError,
    DoesNotFitError,
    UnknownNodeError,
    UnknownTaskError,
)
from hypothesis import given
from hypothesis import strategies as st

TWO = NodeCapacity(
    node="a", cpu_milli=2000, memory_bytes=10, gpus=("T4",), devices=frozenset({"cam"})
)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("choose"), plain_demands),
        st.tuples(st.just("adopt"), st.tuples(st.sampled_from(NAMES), plain_demands)),
        st.tuples(st.just("remove"), st.integers(0, 30)),
        st.tuples(st.just("set"), st.sampled_from(NAMES).flatmap(node)),
        st.tuples(st.just("drop"), st.sampled_from(NAMES)),
    ),
    max_size=25,
)


def step(pool: Pool, number: int, kind: str, what: object) -> None:
    task = f"t{number}"
    if kind == "choose" and isinstance(what, Demand):
        choice = choose(pool, what)
        if isinstance(choice, Choice):
            pool.place(task, what, choice.node, choice.gpus)
    elif kind == "adopt" and isinstance(what, tuple) and what[0] in pool:
        pool.adopt(
            task, what[1], what[0], (0,) if what[1].gpu_milli else tuple(range(what[1].gpus))
        )
    elif kind == "remove" and f"t{what}" in pool.placements:
        pool.remove(f"t{what}")
    elif kind == "set" and isinstance(what, NodeCapacity):
        pool.set_node(what)
    elif kind == "drop" and isinstance(what, str) and what in pool:
        pool.drop_node(what)


@given(nodes, steps)
def test_the_columns_are_what_the_nodes_have_less_what_is_held_after_any_history(
    given_nodes: list[NodeCapacity], history: list[tuple[str, object]]
) -> None:
    pool = Pool(given_nodes)
    for number, (kind, what) in enumerate(history):
        step(pool, number, kind, what)
        assert pool.columns.size == len(pool)  # so that rows are changed in place, not made anew
    columns = pool.columns
    assert columns.names == sorted(columns.names)
    for row, name in enumerate(columns.names):
        free = Free(pool.node(name), pool.on(name))
        for driver in ("process", "container", "dask"):
            room, part = columns.room(driver), Free(pool.node(name), pool.on(name), driver)
            assert room.cpu_free[row] == part.cpu
            assert room.memory_free[row] == part.memory
        assert columns.disk_free[row] == free.disk
        assert columns.gpu_free[row, : len(free.gpus)].tolist() == free.gpus
        assert columns.devices_free[row] == free.devices
    assert {p.task for name in columns.names for p in pool.on(name)} == set(pool.placements)


@given(nodes, steps, demands, st.sampled_from(list(POLICIES.values())))
def test_a_pool_of_any_history_decides_like_one_that_was_made_this_moment(
    given_nodes: list[NodeCapacity],
    history: list[tuple[str, object]],
    demand: Demand,
    policy: Policy,
) -> None:
    """Nothing that is kept between decisions is ever stale, and no order of events leaves a trace."""
    pool = Pool(given_nodes)
    for number, (kind, what) in enumerate(history):
        choose(pool, demand, policy)
        step(pool, number, kind, what)
        assert choose(pool, demand, policy) == choose(pool.copy(), demand, policy)


@given(nodes, st.lists(plain_demands, max_size=20))
def test_what_was_placed_never_adds_up_to_more_than_the_nodes_have(
    given_nodes: list[NodeCapacity], tasks: list[Demand]
) -> None:
    pool = Pool(given_nodes)
    for number, demand in enumerate(tasks):
        for row, name in enumerate(pool.columns.names):  # every node is tried, fit or not
            free = [i for i, _ in enumerate(pool.node(name).gpus)]
            gpus = tuple(free[: demand.gpus or (1 if demand.gpu_milli else 0)])
            try:
                pool.place(f"t{number}", demand, name, gpus)
            except DoesNotFitError:
                continue
            columns, room = pool.columns, pool.columns.room(demand.driver)
            assert min(room.cpu_free[row], room.memory_free[row]) >= 0
            assert columns.disk_free[row] >= 0
            assert np.all(columns.gpu_free >= 0)
            break
    for name in pool.columns.names:
        held = [device for placement in pool.on(name) for device in placement.devices]
        assert len(held) == len(set(held))


@given(nodes, st.lists(plain_demands, min_size=1, max_size=8))
def test_removing_gives_back_exactly_what_was_taken(
    given_nodes: list[NodeCapacity], tasks: list[Demand]
) -> None:
    pool, before = Pool(given_nodes), Pool(given_nodes).columns
    for number, demand in enumerate(tasks):
        step(pool, number, "choose", demand)
    for task in list(pool.placements):
        pool.remove(task)
    columns = pool.columns
    assert np.array_equal(columns.gpu_free, before.gpu_free)
    assert np.array_equal(columns.own.cpu_free, before.own.cpu_free)
    assert columns.devices_free == before.devices_free


@pytest.mark.parametrize(
    ("demand", "gpus", "said"),
    [
        (Demand(cpu_milli=2001), (), "2001 thousandths of a core, 2000 are free"),
        (Demand(memory_bytes=11), (), "11 bytes of memory, 10 are free"),
        (Demand(disk_bytes=1), (), "1 bytes of disk, 0 are free"),
        (Demand(gpu_milli=500), (), "needs 1 GPUs, 0 are named"),
        (Demand(gpu_milli=500), (1,), "there is no GPU 1"),
        (Demand(gpus=2), (0, 0), "needs 2 GPUs, 1 are named"),
        (Demand(), (0,), "needs 0 GPUs, 1 are named"),
        (Demand(devices=frozenset({"arm"})), (), "devices arm are not free"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_numbers_and_changes_nothing(
    demand: Demand, gpus: tuple[int, ...], said: str
) -> None:
    pool = Pool([TWO])
    with pytest.raises(DoesNotFitError, match=said):
        pool.place("t", demand, "a", gpus)
    assert not pool.placements
    assert pool.columns.own.cpu_free.tolist() == [2000]


def test_a_task_holds_one_place_and_a_gpu_is_shared_until_it_is_full() -> None:
    pool = Pool([TWO])
    pool.place("t", Demand(gpu_milli=600), "a", (0,))
    with pytest.raises(DoesNotFitError, match="already holds a place on node a"):
        pool.place("t", Demand(), "a")
    with pytest.raises(DoesNotFitError, match="GPU 0"):
        pool.place("u", Demand(gpu_milli=401), "a", (0,))
    pool.place("u", Demand(gpu_milli=400), "a", (0,))
    assert pool.columns.gpu_free.tolist() == [[0]]


def test_a_node_that_has_less_than_it_told_takes_nothing_more_and_loses_no_books() -> None:
    pool = Pool([TWO])
    pool.place("t", Demand(cpu_milli=1500, gpu_milli=300), "a", (0,))
    pool.set_node(replace(TWO, cpu_milli=1000, gpus=()))
    assert pool.columns.own.cpu_free.tolist() == [-500]
    refused = choose(pool, Demand(cpu_milli=1))
    assert not isinstance(refused, Choice)
    assert str(refused) == "none of 1 nodes: cpu refuses 1"
    assert isinstance(choose(pool, Demand(memory_bytes=1)), Choice)
    pool.set_node(TWO)
    assert pool.columns.own.cpu_free.tolist() == [500]
    assert pool.columns.gpu_free.tolist() == [[700]]


def test_what_runs_already_is_adopted_beyond_what_there_is() -> None:
    pool = Pool([TWO])
    pool.adopt("t", Demand(cpu_milli=3000, devices=frozenset({"cam"})), "a")
    pool.adopt("u", Demand(devices=frozenset({"cam"})), "a")
    assert pool.columns.own.cpu_free.tolist() == [-1000]
    pool.remove("t")
    assert pool.columns.own.cpu_free.tolist() == [2000]
    assert pool.columns.devices_free == [frozenset()], "u still has the device"


def test_a_dropped_node_gives_what_was_held_on_it() -> None:
    pool = Pool([TWO, replace(TWO, node="b")])
    held = pool.place("t", Demand(cpu_milli=100), "b")
    assert pool.drop_node("b") == (held,)
    assert pool.columns.names == ["a"]
    with pytest.raises(UnknownTaskError):
        pool.remove("t")
    for gone in (lambda: pool.drop_node("b"), lambda: pool.place("t", Demand(), "b")):
        with pytest.raises(UnknownNodeError, match="node b is not in the pool"):
            gone()


def test_a_copy_shares_nothing_with_its_pool() -> None:
    pool = Pool([TWO])
    pool.place("t", Demand(cpu_milli=100), "a")
    other = pool.without("t")
    other.place("u", Demand(cpu_milli=2000), "a")
    assert list(pool.placements) == ["t"]
    assert pool.columns.own.cpu_free.tolist() == [1900]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda: NodeCapacity(node=""), "needs a name"),
        (lambda: NodeCapacity(node="a", cpu_milli=-1), "node a: cpu_milli must be from 0 to"),
        (lambda: NodeCapacity(node="a", memory_bytes=2**61), "memory_bytes must be from 0 to"),
        (lambda: NodeCapacity(node="a", cpu_milli=1.5), "must be a whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: NodeCapacity(node="a", cost_per_core_s=float("nan")), "cost_per_core_s"),
        (lambda: NodeCapacity(node="a", gpus=("T4",) * 1025), "1025 GPUs are more than 1024"),
        (lambda: Demand(gpus=-1), "gpus must be from 0"),
        (lambda: Demand(gpus=True), "whole number"),
        (lambda: Demand(gpu_milli=1000), "whole ones are gpus"),
        (lambda: Demand(gpus=1, gpu_milli=1), "exclude each other"),
    ],
)
def test_numbers_that_cannot_be_true_are_refused(what: object, said: str) -> None:
    assert callable(what)
    with pytest.raises(CapacityError, match=said):
        what()


def test_a_side_is_the_group() -> None:
    sides = {group: NodeCapacity(node="a", group=group).side for group in (*GROUPS, "corex", "")}
    assert [group for group, side in sides.items() if side == "core"] == ["core", "core/a"]
