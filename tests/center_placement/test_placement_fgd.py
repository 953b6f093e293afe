"""Fragmentation from tables, kept from decision to decision, is the one that is defined task by task."""

import random

import numpy as np
import pytest
from center_placement.generated import MIX, filled, nodes, plain_demands
from center_placement.naive import Free
from farshore_center.placement import POLICIES, Choice, Demand, NodeCapacity, Pool, choose
from farshore_center.placement.errors import CapacityError
from farshore_center.placement.fgd import TaskMix, TypicalTask, fragmentation_by_definition
from farshore_center.placement.scores import growth_score
from hypothesis import given
from hypothesis import strategies as st


@given(nodes, st.lists(plain_demands, max_size=15))
def test_of_every_node_after_any_tasks_it_is_as_defined(
    given_nodes: list[NodeCapacity], tasks: list[Demand]
) -> None:
    pool = filled(given_nodes, tasks, POLICIES["fgd"])
    found = pool.views.fragments.fragmentation(np.arange(len(pool)))
    defined = [Free(pool.node(n), pool.on(n)).fragmentation(MIX) for n in pool.columns.names]
    assert found.tolist() == pytest.approx(defined)
    assert (found >= -1e-6).all()


@given(nodes, st.lists(plain_demands, max_size=15), plain_demands)
def test_the_gpu_of_a_share_is_the_one_on_which_it_grows_least(
    given_nodes: list[NodeCapacity], tasks: list[Demand], demand: Demand
) -> None:
    pool = filled(given_nodes, tasks, POLICIES["fgd"])
    view = pool.views.of(demand, POLICIES["fgd"])
    for row in np.flatnonzero(view.reason == 0):
        name = pool.columns.names[row]
        free = Free(pool.node(name), pool.on(name), demand.driver)
        growth = {gpus: free.growth(demand, gpus, MIX) for gpus in free.sets(demand)}
        assert growth[view.gpus(int(row))] == pytest.approx(min(growth.values()))


def test_what_a_task_can_use_of_a_node() -> None:
    """By hand: 4 cores, one GPU free and of another 400 thousandths."""
    gpus = [("T4", 1000), ("T4", 400)]

    def lost(**task: object) -> float:
        typical = TypicalTask(share=1, **task)  # type: ignore[arg-type]
        return fragmentation_by_definition(4000, gpus, TaskMix((typical,)))

    assert lost(gpu_milli=400) == 0
    assert lost(gpu_milli=401) == 400, "what is left of the second GPU is too little"
    assert lost(gpus=1) == 400
    assert lost(gpus=2) == 1400, "it does not fit at all"
    assert lost(cpu_milli=4001, gpu_milli=1) == 1400, "there is no CPU for it"
    assert lost(cpu_milli=1) == 1400, "it can't use GPUs"
    assert lost(gpu_milli=100, gpu_models=frozenset({"A10"})) == 1400


def test_a_share_goes_where_it_spoils_least() -> None:
    """Half of a GPU: the node with one half left is taken, not the wholly free GPU of another."""
    mix = TaskMix((TypicalTask(gpus=1, share=0.5), TypicalTask(gpu_milli=500, share=0.5)))
    pool = Pool(
        [NodeCapacity(node="a", gpus=("T4",)), NodeCapacity(node="b", gpus=("T4", "T4"))], mix=mix
    )
    pool.place("first", Demand(gpu_milli=500), "b", (1,))
    found = choose(pool, Demand(gpu_milli=500), POLICIES["fgd"])
    assert isinstance(found, Choice)
    assert (found.node, found.gpus) == ("b", (1,))


def test_what_differs_by_the_last_bits_of_a_sum_is_equal() -> None:
    growth = np.array([-1e-12, 0, 1e-12])
    for steps in (100, 10_000):
        assert growth_score(growth, steps).tolist() == [0.5, 0.5, 0.5]
    assert growth_score(np.array([np.inf, 1000, 100, 0, -np.inf]), 100).tolist() == [
        0,
        0.26,
        0.47,
        0.5,
        1,
    ]


def test_the_mix_is_what_most_tasks_were() -> None:
    demands = [Demand(cpu_milli=1, gpus=1)] * 90 + [Demand(gpu_milli=5)] * 8 + [Demand(gpus=8)] * 2
    random.Random(1).shuffle(demands)
    mix = TaskMix.of(demands)
    assert [(task.gpus, task.gpu_milli) for task in mix.tasks] == [(1, 0), (0, 5)]
    assert [task.share for task in mix.tasks] == pytest.approx([90 / 98, 8 / 98])
    assert len(TaskMix.of(demands, popular=1).tasks) == 3
    assert TaskMix.of([]) == TaskMix(())


def test_a_mix_whose_shares_are_not_all_is_refused() -> None:
    with pytest.raises(CapacityError, match=r"must add up to 1, not 0\.500"):
        TaskMix((TypicalTask(gpus=1, share=0.5),))
