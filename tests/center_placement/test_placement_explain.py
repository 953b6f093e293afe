"""An explanation is the decision itself, node by node, with the numbers."""

import random
from dataclasses import replace

import pytest
from center_placement.generated import demands, filled, nodes, plain_demands
from farshore_center.placement import (
    POLICIES,
    Choice,
    Data,
    Demand,
    Link,
    NodeCapacity,
    Policy,
    Pool,
    RunTime,
    choose,
    explain,
)
from farshore_center.placement.filters import FILTERS
from hypothesis import given
from hypothesis import strategies as st

NODE = NodeCapacity(
    node="a",
    group="eu/x",
    cpu_milli=4000,
    memory_bytes=2 << 30,
    disk_bytes=3 << 40,
    gpus=("T4", "T4"),
    devices=frozenset({"cam"}),
)


@given(
    nodes,
    st.lists(plain_demands, max_size=10),
    demands,
    st.sampled_from(list(POLICIES.values())),
    st.integers(0, 9),
)
def test_it_agrees_with_the_decision(
    given_nodes: list[NodeCapacity],
    before: list[Demand],
    demand: Demand,
    policy: Policy,
    seed: int,
) -> None:
    pool = filled(given_nodes, before, policy)
    found = choose(pool, demand, policy, random.Random(seed))
    sampled = found.sampled if isinstance(found, Choice) else None
    told = explain(pool, demand, policy, sampled)
    assert sorted(verdict.node for verdict in told.verdicts) == pool.columns.names
    assert told.rejections == found.rejections
    for rejection in found.rejections:
        assert rejection.nodes == sum(v.filter == rejection.filter for v in told.verdicts)
    ranked = [verdict for verdict in told.verdicts if verdict.rank]
    assert [verdict.rank for verdict in ranked] == list(range(1, len(ranked) + 1))
    assert [verdict.mean for verdict in ranked] == sorted((v.mean for v in ranked), reverse=True)  # type: ignore[type-var]
    if isinstance(found, Choice):
        best = told.verdicts[0]
        assert (best.node, best.parts, best.mean) == (found.node, found.parts, found.mean)
        assert best.figures == found.figures
        assert told.weights == found.weights
    assert all(verdict.why for verdict in told.verdicts if verdict.parts or verdict.filter)


@pytest.mark.parametrize(
    ("changed", "demand", "why"),
    [
        ({"refuses": "drained"}, Demand(), "schedulable: takes nothing new: drained"),
        ({}, Demand(eligible=frozenset()), "selector: the task's selector does not take it"),
        ({}, Demand(where="core"), "side: the task is for the core, this is the edge"),
        ({}, Demand(driver="container"), "driver: needs the driver container, has process"),
        ({}, Demand(cpu_milli=2000), "cpu: needs 2 cores, 0.5 cores of 4 cores free"),
        ({}, Demand(memory_bytes=3 << 30), "memory: needs 3 GiB of memory, 1 GiB of 2 GiB free"),
        ({}, Demand(disk_bytes=4 << 40), "disk: needs 4 TiB of disk, 3 TiB of 3 TiB free"),
        (
            {},
            Demand(gpus=1, gpu_models=frozenset({"H100", "A10"})),
            "gpu_model: needs a GPU of model A10 or H100, has T4",
        ),
        ({}, Demand(gpus=2), "gpu: needs 2 whole GPUs, 1 of 2 are free"),
        (
            {"gpus": ("T4",)},
            Demand(gpu_milli=700),
            "gpu: needs 0.7 of a GPU, at most 0.4 of one is free",
        ),
        ({"gpus": ()}, Demand(gpu_milli=700), "gpu: needs a GPU, has none"),
        ({}, Demand(devices=frozenset({"cam", "arm"})), "devices: has no arm; cam in use"),
        ({"battery_pct": 12.5}, Demand(), "battery: needs 20 % of battery, 12.5 % is left"),
        (
            {"link": Link(up_bytes_s=1e3, down_bytes_s=1e6, latency_s=1)},
            Demand(
                deadline_s=8,
                reads=(Data(node="b", size_bytes=4_000_000),),
                run_times={"edge": RunTime(mean_s=1, p95_s=3, count=4)},
            ),
            "deadline: must be done in 8 s; in 95 of 100 runs it takes 8.1 s: transfer 5.1, run 3",
        ),
    ],
)
def test_every_refusal_gives_its_numbers(
    changed: dict[str, object], demand: Demand, why: str
) -> None:
    pool = Pool([replace(NODE, **changed)])  # type: ignore[arg-type]
    holds = Demand(cpu_milli=3500, memory_bytes=1 << 30, gpu_milli=600, devices=frozenset({"cam"}))
    pool.adopt("t", holds, "a", (0,))
    verdict = explain(pool, demand).verdicts[0]
    assert f"{verdict.filter}: {verdict.why}" == why
    assert verdict.rank is verdict.mean is None


def test_every_filter_has_words_of_its_own() -> None:
    from farshore_center.placement.refusals import _SAY

    assert set(_SAY) == set(FILTERS)


def test_a_node_that_was_not_drawn_says_so() -> None:
    pool = Pool([NODE, replace(NODE, node="b")])
    told = explain(pool, Demand(cpu_milli=1000), sampled=frozenset({"b"}))
    assert [(v.node, v.rank, v.why) for v in told.verdicts][1] == (
        "a",
        None,
        "not among the candidates drawn",
    )
    assert told.verdicts[0].why.startswith("fragmentation ")
