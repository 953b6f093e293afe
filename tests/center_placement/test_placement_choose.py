"""The decision, against filters and scores worked out node by node."""

import random
from dataclasses import replace
from typing import Any

import pytest
from center_placement.generated import MIX, demands, filled, nodes, plain_demands
from center_placement.naive import Free, reason, row_scores
from farshore_center.placement import (
    POLICIES,
    Affinity,
    Choice,
    Data,
    Demand,
    NodeCapacity,
    PlacementError,
    Policy,
    Pool,
    Spread,
    Unplaceable,
    choose,
)
from farshore_center.placement.filters import FILTERS
from farshore_center.placement.policies import SAMPLE
from farshore_center.placement.views import KEPT
from hypothesis import given
from hypothesis import strategies as st

policies = st.sampled_from(list(POLICIES.values()))
tasks = st.lists(plain_demands, max_size=12)


def equal_nodes(*names: str, **more: object) -> list[NodeCapacity]:
    base = NodeCapacity(node="x", cpu_milli=4000, memory_bytes=10)
    return [replace(base, node=name, **more) for name in names]  # type: ignore[arg-type]


def node_of(found: Choice | Unplaceable) -> str:
    assert isinstance(found, Choice), str(found)
    return found.node


@given(nodes, tasks, demands, policies, st.integers(0, 9))
def test_a_decision_accounts_for_every_node_and_its_choice_passes_all_filters(
    given_nodes: list[NodeCapacity],
    before: list[Demand],
    demand: Demand,
    policy: Policy,
    seed: int,
) -> None:
    pool = filled(given_nodes, before, policy)
    found = choose(pool, demand, policy, random.Random(seed))
    refused = sum(rejection.nodes for rejection in found.rejections)
    assert [r.filter for r in found.rejections] == [
        name for name in FILTERS if name in {r.filter for r in found.rejections}
    ]
    if isinstance(found, Unplaceable):
        assert refused == found.nodes == len(pool)
        return
    assert refused + found.candidates == len(pool)
    assert not reason(
        pool.node(found.node),
        Free(pool.node(found.node), pool.on(found.node), demand.driver),
        demand,
    )
    pool.place("it", demand, found.node, found.gpus)  # raises if it did not fit


@given(nodes, tasks, demands, policies)
def test_scores_lie_between_0_and_1_and_the_mean_is_theirs_by_weight(
    given_nodes: list[NodeCapacity], before: list[Demand], demand: Demand, policy: Policy
) -> None:
    found = choose(filled(given_nodes, before, policy), demand, policy)
    if isinstance(found, Choice):
        assert set(found.parts) == set(found.weights) <= set(policy.weights)
        assert all(0 <= score <= 1 for score in found.parts.values()), found.parts
        total = sum(found.weights.values())
        mean = sum(found.parts[name] * weight for name, weight in found.weights.items()) / (
            total or 1
        )
        assert found.mean == pytest.approx(mean)


@given(nodes, tasks, plain_demands, policies)
def test_columns_and_what_is_kept_of_them_say_what_each_node_says_by_itself(
    given_nodes: list[NodeCapacity], before: list[Demand], demand: Demand, policy: Policy
) -> None:
    """Each task before went through the same views, so rows were worked out at different times."""
    pool = filled(given_nodes, before, policy)
    view = pool.views.of(demand, policy)
    for row, name in enumerate(pool.columns.names):
        free = Free(pool.node(name), pool.on(name), demand.driver)
        why = reason(pool.node(name), free, demand)
        code = int(view.reason[row])
        assert (FILTERS[code - 1] if code else "") == why
        if not why:
            scores = row_scores(pool, free, demand, policy)
            for part, column in view.parts.items():
                assert column[row] == pytest.approx(scores[part], abs=1e-9), part
            total = sum(weight * scores[part] for part, weight in view.weights.items())
            assert view.total[row] == pytest.approx(total)
            assert len(view.gpus(row)) == (demand.gpus or bool(demand.gpu_milli))
            assert set(view.gpus(row)) <= set(free.usable(demand))


@given(nodes, tasks, demands, policies)
def test_the_short_way_and_the_long_way_decide_alike(
    given_nodes: list[NodeCapacity], before: list[Demand], demand: Demand, policy: Policy
) -> None:
    """A task with an empty wish list is decided by what is kept; with wishes that say nothing, it is not."""
    pool = filled(given_nodes, before, policy)
    short = choose(pool, demand, policy)
    everywhere = frozenset(pool.columns.names) if demand.eligible is None else demand.eligible
    long = choose(pool, replace(demand, eligible=everywhere), policy)
    assert type(short) is type(long)
    assert short.rejections == long.rejections
    if isinstance(short, Choice) and isinstance(long, Choice):
        assert (short.node, short.gpus) == (long.node, long.gpus)
        assert short.mean == pytest.approx(long.mean)


@given(nodes, tasks, demands)
def test_the_order_in_which_nodes_were_told_of_decides_nothing(
    given_nodes: list[NodeCapacity], before: list[Demand], demand: Demand
) -> None:
    policy = POLICIES["default"]
    one, other = filled(given_nodes, before, policy), filled(given_nodes[::-1], before, policy)
    assert choose(one, demand, policy) == choose(other, demand, policy)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"weights": {"packing": 1.0}},
            "policy mine: there is no score packing, only affinity, bin_",
        ),
        ({"weights": {"money": -1.0}}, "the weight of money must be 0 or more, not -1"),
        ({"weights": {"money": float("nan")}}, "must be 0 or more, not nan"),
        ({"weights": {}, "steps": 0}, "steps must be 1 or more, not 0"),
    ],
)
def test_a_policy_that_says_nothing_sensible_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(PlacementError, match=said):
        Policy(name="mine", **wrong)


def test_policies_of_one_name_are_not_mistaken_for_each_other() -> None:
    pool = Pool(equal_nodes("a", "b"))
    pool.place("t", Demand(cpu_milli=1000), "b")
    packs = Policy(name="mine", weights={"bin_packing": 1.0})
    spreads = Policy(name="mine", weights={"least_loaded": 1.0})
    assert node_of(choose(pool, Demand(cpu_milli=1000), packs)) == "b"
    assert node_of(choose(pool, Demand(cpu_milli=1000), spreads)) == "a"


def test_a_policy_without_weights_takes_the_first_that_passes() -> None:
    found = choose(Pool(equal_nodes("a", "b")), Demand(), Policy(name="none", weights={}))
    assert isinstance(found, Choice)
    assert (found.node, found.mean, dict(found.parts)) == ("a", 0.0, {})


def test_of_equal_nodes_the_first_name_is_taken() -> None:
    pool = Pool(equal_nodes("b", "a", "c"))
    assert node_of(choose(pool, Demand(cpu_milli=1000))) == "a"


def test_work_is_packed_by_default_and_spread_by_the_policy_of_that_name() -> None:
    pool = Pool(equal_nodes("a", "b"))
    pool.place("t", Demand(cpu_milli=1000), "b")
    assert node_of(choose(pool, Demand(cpu_milli=1000))) == "b"
    assert node_of(choose(pool, Demand(cpu_milli=1000), POLICIES["spread"])) == "a"


def test_round_robin_takes_turns_by_name() -> None:
    pool, turns = Pool(equal_nodes("a", "b", "c")), []
    for number in range(5):
        turns.append(node_of(choose(pool, Demand(cpu_milli=100), POLICIES["round_robin"])))
        pool.place(str(number), Demand(cpu_milli=100), turns[-1])
    assert turns == ["a", "b", "c", "a", "b"]


def test_a_liked_node_wins_and_a_disliked_one_loses_over_packing() -> None:
    pool = Pool(equal_nodes("a", "b"))
    pool.place("t", Demand(cpu_milli=3000), "b")
    likes = Demand(cpu_milli=500, affinities=(Affinity(nodes=frozenset("a"), weight=1),))
    dislikes = Demand(cpu_milli=500, affinities=(Affinity(nodes=frozenset("b"), weight=-1),))
    assert node_of(choose(pool, likes)) == node_of(choose(pool, dislikes)) == "a"


def test_copies_are_kept_apart_by_group_and_by_label() -> None:
    given_nodes = [
        *equal_nodes("a", "b", group="eu", labels={"rack": "1"}),
        *equal_nodes("c", group="us", labels={"rack": "1"}),
        *equal_nodes("d", group="us", labels={"rack": "2"}),
    ]
    demand = Demand(cpu_milli=100, peers=("a",))
    pool = Pool(given_nodes)
    assert node_of(choose(pool, replace(demand, spread=(Spread(by="group"),)))) == "c"
    deep = Pool([replace(each, group=f"{each.group}/{each.node}") for each in given_nodes])
    by = {depth: (Spread(by="group", depth=depth),) for depth in (1, 2)}
    assert node_of(choose(deep, replace(demand, spread=by[1]))) == "c"
    assert node_of(choose(deep, replace(demand, spread=by[2]))) == "b"
    named = Pool([replace(each, labels={"node": "1", "group": "2"}) for each in given_nodes])
    for by_label in ("label.node", "label.group"):
        found = choose(named, replace(demand, spread=(Spread(by=by_label),)))
        assert node_of(found) == "a", "all have one value, whatever they are called"
    assert node_of(choose(pool, replace(demand, spread=(Spread(by="label.rack"),)))) == "d"
    assert node_of(choose(pool, replace(demand, spread=(Spread(by="node"),)))) == "b"


def test_of_batch_work_a_sample_is_looked_at_with_its_data_the_core_and_the_edge_in_it() -> None:
    edge = equal_nodes(*(f"e{at:04d}" for at in range(500)), group="eu")
    core = equal_nodes(*(f"k{at:04d}" for at in range(100)), group="core")
    pool = Pool([*edge, *core])
    demand = Demand(cpu_milli=100, batch=True, reads=(Data(node="e0433", size_bytes=10**9),))
    for seed in range(10):
        found = choose(pool, demand, rng=random.Random(seed))
        assert isinstance(found, Choice)
        assert found.sampled is not None
        assert "e0433" in found.sampled
        assert {name[0] for name in found.sampled} == {"e", "k"}
        assert len(found.sampled) <= SAMPLE // 2 * 3
        assert found.candidates == 600
        assert found.node == "e0433", "its data is there"
        assert choose(pool, demand, rng=random.Random(seed)) == found
    blind = choose(pool, replace(demand, reads=()), rng=random.Random(1))
    assert isinstance(blind, Choice)
    assert [sum(name[0] == side for name in blind.sampled or ()) for side in "ek"] == [
        SAMPLE // 2
    ] * 2
    assert blind.node == min(blind.sampled or ()), "equal ones but for their names"
    every = choose(pool, demand)
    assert isinstance(every, Choice)
    assert every.sampled is None


def test_what_a_node_says_anew_counts_at_once() -> None:
    """Drivers, groups and labels are kept in columns of their own."""
    pool = Pool(equal_nodes("a", "b", "c"))
    container = Demand(driver="container")
    copies = Demand(peers=("a",), spread=(Spread(by="label.rack"),))
    near = Demand(reads=(Data(group="eu/x", size_bytes=10**9),))
    assert isinstance(choose(pool, container), Unplaceable)
    assert node_of(choose(pool, copies)) == node_of(choose(pool, near)) == "a"
    both = frozenset({"process", "container"})
    pool.set_node(*equal_nodes("c", drivers=both, labels={"rack": "2"}))
    pool.set_node(*equal_nodes("b", group="eu/x"))
    assert node_of(choose(pool, container)) == node_of(choose(pool, copies)) == "c"
    assert node_of(choose(pool, near)) == "b"


@pytest.mark.parametrize("cores", [2, 16])
def test_packing_is_measured_by_the_largest_node_there_is_now(cores: int) -> None:
    pool = Pool([*equal_nodes("a"), *equal_nodes("b", cpu_milli=8000)])
    choose(pool, Demand(cpu_milli=1000))
    pool.set_node(*equal_nodes("b", cpu_milli=cores * 1000))
    found = choose(pool, Demand(cpu_milli=1000))
    assert found == choose(pool.copy(), Demand(cpu_milli=1000))


@pytest.mark.parametrize("policy", ["default", "fgd", "bestfit"])
def test_on_a_node_of_several_models_only_the_allowed_gpus_are_taken(policy: str) -> None:
    pool = Pool(equal_nodes("a", gpus=("T4", "A10", "T4", "A10")))
    a10 = frozenset({"A10"})
    for milli, expected in ((300, (1,)), (200, (1,)), (800, (3,))):
        found = choose(pool, Demand(gpu_milli=milli, gpu_models=a10), POLICIES[policy])
        assert isinstance(found, Choice)
        assert found.gpus == expected
        pool.place(f"t{milli}", Demand(gpu_milli=milli, gpu_models=a10), "a", found.gpus)
    whole = choose(pool, Demand(gpus=2, gpu_models=frozenset({"T4", "H100"})), POLICIES[policy])
    assert isinstance(whole, Choice)
    assert whole.gpus == (0, 2)
    assert isinstance(choose(pool, Demand(gpus=1, gpu_models=a10), POLICIES[policy]), Unplaceable)


def test_an_impossible_request_says_which_filter_refused_on_how_many_nodes() -> None:
    given_nodes = [
        *equal_nodes("a", "b", cpu_milli=500),
        *equal_nodes("c", refuses="drained"),
        *equal_nodes("d", memory_bytes=1),
        *equal_nodes("e", group="core"),
    ]
    demand = Demand(
        cpu_milli=1000,
        memory_bytes=2,
        eligible=frozenset("abcd"),
    )
    found = choose(Pool(given_nodes), demand)
    assert str(found) == (
        "none of 5 nodes: schedulable refuses 1, selector refuses 1, cpu refuses 2, memory refuses 1"
    )
    assert str(choose(Pool(), Demand())) == "no node: the pool is empty"


def test_selectors_count_before_what_is_free_and_after_what_takes_nothing_at_all() -> None:
    given_nodes = [*equal_nodes("a", cpu_milli=0), *equal_nodes("b", refuses="silent")]
    found = choose(Pool(given_nodes), Demand(cpu_milli=1, eligible=frozenset()))
    assert {r.filter: r.nodes for r in found.rejections} == {"schedulable": 1, "selector": 1}


def test_a_node_that_stands_for_a_cluster_hands_out_its_last_gpu() -> None:
    pool = Pool([NodeCapacity(node="dask", gpus=("A10",) * 300), *equal_nodes("a")])
    pool.place("t", Demand(gpus=299), "dask", tuple(range(299)))
    found = choose(pool, Demand(gpu_milli=100))
    assert isinstance(found, Choice)
    assert found.gpus == (299,)


def test_more_kinds_of_demand_than_views_are_kept_are_decided_all_the_same() -> None:
    pool = Pool(equal_nodes("a", "b", cpu_milli=KEPT * 10))
    pool.place("t", Demand(cpu_milli=KEPT * 5), "b")
    for _ in range(2):
        for cpu in range(1, KEPT + 20):
            assert node_of(choose(pool, Demand(cpu_milli=cpu))) == "b"


def test_the_mix_can_change_under_a_pool() -> None:
    pool = Pool(equal_nodes("a", gpus=("T4",)))
    demand = Demand(gpu_milli=500)
    before = choose(pool, demand)
    pool.set_mix(MIX)
    after = choose(pool, demand)
    assert isinstance(before, Choice)
    assert isinstance(after, Choice)
    assert before.parts["fragmentation"] != after.parts["fragmentation"]
