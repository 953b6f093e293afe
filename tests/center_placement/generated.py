"""Nodes and demands for property tests: small numbers, so that things run full and are equal often."""

from dataclasses import replace
from typing import Any

from farshore_center.placement import (
    Affinity,
    Choice,
    Cluster,
    Data,
    Demand,
    Link,
    NodeCapacity,
    Policy,
    Pool,
    RunTime,
    Spread,
    choose,
)
from farshore_center.placement.fgd import TaskMix, TypicalTask
from hypothesis import strategies as st

NAMES = tuple(f"n{number}" for number in range(6))
GROUPS = ("core", "core/a", "eu", "eu/x", "us")
MODELS = ("T4", "A10")
DEVICES = ("cam", "arm")

MIX = TaskMix(
    (
        TypicalTask(cpu_milli=1000, gpu_milli=300, share=0.3),
        TypicalTask(cpu_milli=2000, gpu_milli=500, gpu_models=frozenset({"T4"}), share=0.2),
        TypicalTask(cpu_milli=1000, gpus=1, share=0.2),
        TypicalTask(cpu_milli=3000, gpus=2, share=0.1),
        TypicalTask(cpu_milli=2000, gpus=2, gpu_models=frozenset({"A10"}), share=0.1),
        TypicalTask(cpu_milli=500, share=0.1),
    )
)

links = st.builds(
    Link,
    up_bytes_s=st.sampled_from([1e3, 1e5]),
    down_bytes_s=st.sampled_from([1e4, 1e6]),
    latency_s=st.sampled_from([0.0, 0.5]),
    cost_per_byte=st.sampled_from([0.0, 1e-6]),
    measured=st.booleans(),
)


clusters = st.builds(
    Cluster,
    driver=st.sampled_from(["container", "dask"]),
    cpu_milli=st.integers(0, 20).map(lambda cores: cores * 1000),
    memory_bytes=st.integers(0, 9),
)


def node(name: str) -> st.SearchStrategy[NodeCapacity]:
    return st.builds(
        NodeCapacity,
        node=st.just(name),
        group=st.sampled_from(GROUPS),
        labels=st.fixed_dictionaries({}, optional={"zone": st.sampled_from("ab")}),
        cpu_milli=st.integers(0, 6).map(lambda cores: cores * 1000),
        memory_bytes=st.integers(0, 4),
        disk_bytes=st.integers(0, 4),
        gpus=st.lists(st.sampled_from(MODELS), max_size=4).map(tuple),
        devices=st.frozensets(st.sampled_from(DEVICES)),
        drivers=st.sampled_from([frozenset({"process"}), frozenset({"process", "container"})]),
        kind=st.sampled_from(["", "pi"]),
        battery_pct=st.sampled_from([None, None, 10.0, 80.0]),
        cost_per_core_s=st.sampled_from([0.0, 0.01]),
        refuses=st.sampled_from(["", "", "", "drained"]),
        link=st.none() | links,
        cluster=st.none() | clusters,
    )


nodes = st.sets(st.sampled_from(NAMES)).flatmap(
    lambda names: st.tuples(*(node(name) for name in sorted(names))).map(list)
)

some_names = st.frozensets(st.sampled_from((*NAMES, "gone")))

data = st.builds(Data, size_bytes=st.integers(0, 10**6), node=st.sampled_from((*NAMES, "gone"))) | (
    st.builds(Data, size_bytes=st.integers(0, 10**6), group=st.sampled_from(GROUPS))
)

run_times = st.builds(
    lambda mean, more: RunTime(mean_s=mean, p95_s=mean + more, count=5),
    st.sampled_from([1.0, 10.0]),
    st.sampled_from([0.0, 5.0]),
)

_gpus: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.integers(1, 3).map(lambda count: {"gpus": count}),
    st.sampled_from([200, 300, 500, 700, 999]).map(lambda milli: {"gpu_milli": milli}),
)

plain_demands = st.builds(
    lambda gpus, rest: Demand(**rest, **gpus),
    _gpus,
    st.fixed_dictionaries(
        {"cpu_milli": st.integers(0, 4).map(lambda halves: halves * 500)},
        optional={
            "memory_bytes": st.integers(0, 3),
            "disk_bytes": st.integers(0, 3),
            "gpu_models": st.frozensets(st.sampled_from((*MODELS, "H100"))),
            "devices": st.frozensets(st.sampled_from(DEVICES)),
            "driver": st.sampled_from(["process", "container"]),
            "where": st.sampled_from(["edge", "core"]),
            "priority": st.integers(0, 6).map(lambda tens: tens * 10),
        },
    ),
)

demands = st.builds(
    lambda demand, more: replace(demand, **more),
    plain_demands,
    st.fixed_dictionaries(
        {},
        optional={
            "eligible": some_names,
            "affinities": st.lists(
                st.builds(Affinity, nodes=some_names, weight=st.sampled_from([-1.0, 0.0, 2.0])),
                max_size=2,
            ).map(tuple),
            "spread": st.lists(
                st.builds(Spread, by=st.sampled_from(["node", "group", "label.zone"])), max_size=2
            ).map(tuple),
            "peers": st.lists(st.sampled_from((*NAMES, "gone")), max_size=4).map(tuple),
            "reads": st.lists(data, max_size=2).map(tuple),
            "writes": st.lists(data, max_size=1).map(tuple),
            "deadline_s": st.sampled_from([5.0, 60.0]),
            "run_times": st.dictionaries(
                st.sampled_from(["n1", "pi", "edge", "core", "*"]), run_times, max_size=3
            ),
            "run_hint_s": st.sampled_from([2.0, 20.0]),
            "batch": st.booleans(),
        },
    ),
)


def filled(given: list[NodeCapacity], tasks: list[Demand], policy: Policy) -> Pool:
    """A pool in which each task that found room holds it; task number n is ``tn``."""
    pool = Pool(given, mix=MIX)
    for number, demand in enumerate(tasks):
        choice = choose(pool, demand, policy)
        if isinstance(choice, Choice):
            pool.place(f"t{number}", demand, choice.node, choice.gpus)
    return pool
