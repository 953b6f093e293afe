"""Edge or core: what is reckoned, where each number comes from, and which side wins."""

from dataclasses import replace
from typing import Any

import pytest
from farshore_center.placement import (
    Choice,
    Data,
    Demand,
    Link,
    NodeCapacity,
    Pool,
    RunTime,
    choose,
)
from farshore_center.placement.cost import OWN_RUNS, reckon
from hypothesis import given
from hypothesis import strategies as st

MB = 10**6
SLOW = Link(up_bytes_s=MB, down_bytes_s=4 * MB, latency_s=0.1, measured=True)
EDGE = NodeCapacity(node="edge-1", group="eu", cpu_milli=4000, link=SLOW)
FAR = replace(EDGE, node="edge-2", group="us")
CORE = NodeCapacity(node="core-1", group="core", cpu_milli=64000)
SLOWER = RunTime(mean_s=60, p95_s=90, count=20)
QUICK = RunTime(mean_s=6, p95_s=9, count=20)
TIMES = {"edge": SLOWER, "core": QUICK}


def figures(demand: Demand, node: str, *given_nodes: NodeCapacity) -> dict[str, tuple[Any, str]]:
    pool = Pool(given_nodes or (EDGE, FAR, CORE))
    found = reckon(pool.columns, demand).figures(pool.columns.row[node])
    return {figure.name: (figure.value, figure.origin) for figure in found}


def chosen(demand: Demand, *given_nodes: NodeCapacity) -> str:
    found = choose(Pool(given_nodes or (EDGE, FAR, CORE)), demand)
    assert isinstance(found, Choice), str(found)
    return found.node


def reads(size: int, **more: object) -> Demand:
    base = Demand(cpu_milli=1000, reads=(Data(node="edge-1", size_bytes=size),), run_times=TIMES)
    return replace(base, **more)  # type: ignore[arg-type]


def test_transfer_and_run_add_up() -> None:
    there = figures(reads(100 * MB), "core-1")
    assert there["transfer"] == (pytest.approx(100.1), "measured")
    assert there["run"] == (6, "measured")
    assert there["completion"] == (pytest.approx(106.1), "measured")
    assert there["completion p95"] == (pytest.approx(109.1), "measured")
    here = figures(reads(100 * MB), "edge-1")
    assert (here["moved"][0], here["completion"][0]) == (0, 60)


def test_between_two_nodes_of_the_edge_the_slower_direction_sets_the_rate() -> None:
    other = figures(reads(8 * MB), "edge-2")
    assert other["transfer"][0] == pytest.approx(8 + 0.2), "up with 1 MB/s, down with 4 MB/s"
    back = replace(reads(0), writes=(Data(group="core", size_bytes=8 * MB),))
    assert figures(back, "edge-1")["transfer"][0] == pytest.approx(8.1)
    assert figures(back, "core-1")["transfer"][0] == pytest.approx(0)


def test_large_data_stays_at_the_edge_and_heavy_work_goes_to_the_core() -> None:
    assert chosen(reads(100 * MB)) == "edge-1"
    assert chosen(reads(10 * MB)) == "core-1"
    assert chosen(replace(reads(10 * MB), where="edge")) == "edge-1"


@given(
    st.integers(0, 500),
    st.floats(1, 200),
    st.floats(1, 200),
    st.sampled_from([1e5, 1e6, 1e7]),
    st.integers(0, 3),
)
def test_the_side_that_is_chosen_is_within_a_tenth_of_the_better_one(
    megabytes: int, at_the_edge: float, at_the_core: float, rate: float, busy: int
) -> None:
    """By the estimates themselves, however full the nodes are: packing never outweighs time."""
    times = {
        "edge": RunTime(mean_s=at_the_edge, p95_s=at_the_edge, count=3),
        "core": RunTime(mean_s=at_the_core, p95_s=at_the_core, count=3),
    }
    link = Link(up_bytes_s=rate, down_bytes_s=rate, latency_s=0.05, measured=True)
    pool = Pool([replace(EDGE, link=link), replace(FAR, link=link), CORE])
    for number in range(busy):
        pool.place(f"t{number}", Demand(cpu_milli=1000), ("edge-1", "edge-2", "core-1")[number])
    demand = replace(reads(megabytes * MB), run_times=times)
    found = choose(pool, demand)
    assert isinstance(found, Choice)
    done = reckon(pool.columns, demand).completion_s
    assert done[pool.columns.row[found.node]] <= 1.1 * done.min()


def test_where_a_number_comes_from_is_told() -> None:
    only = {"core": QUICK}
    assert figures(reads(0, run_times=only), "edge-1")["run"] == (None, "unknown")
    assert figures(reads(0, run_times=only), "edge-1")["completion"] == (None, "unknown")
    guess = figures(reads(0, run_times=only, run_hint_s=30.0), "edge-1")
    assert guess["run"] == guess["run p95"] == guess["completion"] == (30, "hint")
    assert figures(reads(0, run_times={"*": QUICK}), "edge-1")["run"] == (6, "measured elsewhere")
    pi = replace(EDGE, kind="pi")
    of_kind = {"edge": SLOWER, "pi": QUICK}
    assert figures(reads(0, run_times=of_kind), "edge-1", pi)["run"] == (6, "measured")
    of_side = figures(reads(0, run_times={"edge": SLOWER}), "edge-1", pi)
    assert of_side["run"] == (60, "measured elsewhere")
    of_node = {"edge": QUICK, "edge-1": SLOWER}
    assert figures(reads(0, run_times=of_node), "edge-1")["run"] == (60, "measured")


def test_a_few_runs_of_a_node_do_not_outweigh_those_on_its_kind() -> None:
    pi = replace(EDGE, kind="pi")
    for own, expected in ((1, 6.0), (OWN_RUNS - 1, 6.0), (OWN_RUNS, 60.0)):
        times = {"edge-1": replace(SLOWER, count=own), "pi": QUICK}
        assert figures(reads(0, run_times=times), "edge-1", pi)["run"] == (expected, "measured")
    # Where only its side is known, one run of its own says more.
    beside = {"edge-1": replace(SLOWER, count=1), "edge": QUICK}
    assert figures(reads(0, run_times=beside), "edge-1", pi)["run"] == (60, "measured")


def test_a_link_that_nobody_measured_is_an_assumption() -> None:
    bare = replace(EDGE, link=None)
    assert figures(reads(MB), "core-1", bare, CORE)["transfer"] == (pytest.approx(1.1), "assumed")
    assert figures(reads(MB), "edge-1", bare, CORE)["transfer"] == (0, "measured"), (
        "nothing is moved"
    )
    gone = replace(reads(MB), reads=(Data(node="elsewhere", size_bytes=MB),))
    assert figures(gone, "core-1")["transfer"] == (pytest.approx(1.1), "assumed")


def test_data_of_a_group_comes_from_its_node_with_the_best_link() -> None:
    quick = replace(EDGE, node="edge-9", link=replace(SLOW, up_bytes_s=10 * MB, latency_s=0.2))
    demand = replace(reads(0), reads=(Data(group="eu", size_bytes=20 * MB),))
    assert figures(demand, "core-1", EDGE, quick, CORE)["transfer"][0] == pytest.approx(2.2)
    assert figures(demand, "edge-1", EDGE, quick, CORE)["transfer"][0] == 0


def test_who_misses_the_deadline_is_no_measure_for_the_others() -> None:
    """edge-1 is quicker on average and much slower at times."""
    times = {
        "edge-1": RunTime(mean_s=5, p95_s=100, count=9),
        "*": RunTime(mean_s=10, p95_s=12, count=9),
    }
    found = choose(Pool([EDGE, FAR]), reads(0, run_times=times, deadline_s=20.0))
    assert isinstance(found, Choice)
    assert (found.node, found.parts["completion"]) == ("edge-2", 1.0)


def test_a_node_of_another_kind_than_before_runs_at_its_speed() -> None:
    pool = Pool([EDGE, FAR])
    demand = reads(0, reads=(), run_times={"edge": SLOWER, "pi": QUICK})
    assert isinstance(choose(pool, demand), Choice)
    pool.set_node(replace(FAR, kind="pi"))
    found = choose(pool, demand)
    assert isinstance(found, Choice)
    assert found.node == "edge-2"


def test_money_is_bytes_and_core_seconds() -> None:
    paid = replace(EDGE, link=replace(SLOW, cost_per_byte=1e-6))
    dear = replace(CORE, cost_per_core_s=0.5)
    demand = replace(reads(10 * MB), cpu_milli=2000)
    assert figures(demand, "core-1", paid, dear)["cost"] == (pytest.approx(10 + 6), "measured")
    assert figures(demand, "edge-1", paid, dear)["cost"] == (0, "measured")
    same = {"edge": QUICK, "core": QUICK}
    cheap = replace(dear, node="core-2", cost_per_core_s=0.1)
    assert (
        chosen(replace(reads(0), reads=(), run_times=same, where="core"), dear, cheap) == "core-2"
    )


def test_a_deadline_refuses_by_p95_and_not_by_what_nobody_knows() -> None:
    assert chosen(reads(20 * MB, deadline_s=95.0)) == "core-1"
    only_edge = choose(Pool([EDGE]), reads(0, deadline_s=89.0))
    assert str(only_edge) == "none of 1 nodes: deadline refuses 1"
    assert chosen(reads(0, deadline_s=90.0), EDGE) == "edge-1"
    assert chosen(reads(0, run_times={}, deadline_s=1.0), EDGE) == "edge-1"
    far = choose(Pool([EDGE, FAR]), reads(10 * MB, run_times={}, deadline_s=1.0))
    assert isinstance(far, Choice)
    assert [(r.filter, r.nodes) for r in far.rejections] == [("deadline", 1)]


def test_a_battery_below_its_floor_refuses_and_mains_never_does() -> None:
    low = replace(EDGE, battery_pct=19.0)
    assert chosen(Demand(), low, FAR) == "edge-2"
    assert chosen(Demand(min_battery_pct=19.0), low) == "edge-1"
    assert chosen(Demand(min_battery_pct=0.0), replace(EDGE, battery_pct=0.0)) == "edge-1"


def test_locality_counts_where_times_are_equal() -> None:
    lan = Link(up_bytes_s=1e12, down_bytes_s=1e12, measured=True)
    given_nodes = [replace(EDGE, link=lan), replace(FAR, link=lan)]
    demand = reads(100, run_times={"edge": QUICK})
    assert (
        chosen(replace(demand, reads=(Data(node="edge-2", size_bytes=100),)), *given_nodes)
        == "edge-2"
    )
    assert (
        chosen(replace(demand, reads=(Data(group="us", size_bytes=100),)), *given_nodes) == "edge-2"
    )


def test_who_moves_something_over_the_same_link_has_an_even_share_of_it() -> None:
    alone = reads(100 * MB)
    beside = replace(alone, traffic={("edge-1", "up"): (30 * MB, 500 * MB)})
    found = figures(beside, "core-1")
    assert found["shared"] == (130 * MB, "assumed"), "of the longer one as much as of its own"
    assert found["transfer"][0] == pytest.approx(230.1)
    assert found["moved"][0] == 100 * MB
    for other in (("edge-1", "down"), ("edge-2", "up"), ("gone", "up")):
        elsewhere = replace(alone, traffic={other: (30 * MB,)})
        assert figures(elsewhere, "core-1") == figures(alone, "core-1"), other
    there = figures(beside, "edge-1")
    assert (there["transfer"][0], "shared" in there) == (0, False)
    # Of the two links on the way, the one that takes longer counts: 8 MB up with 1 MB/s, 48 down with 4.
    both = replace(reads(8 * MB), traffic={("edge-2", "down"): (8 * MB,) * 5})
    assert figures(both, "edge-2")["transfer"][0] == pytest.approx(12 + 0.2)
    assert figures(both, "edge-2")["shared"][0] == 40 * MB


@given(
    st.integers(1, 500),
    st.lists(st.integers(0, 500), max_size=4),
    st.sampled_from(["edge-1", "edge-2", "core-1"]),
)
def test_a_share_of_a_link_never_takes_longer_than_all_of_it_one_after_the_other(
    megabytes: int, others: list[int], node: str
) -> None:
    """Nor less than alone; and it is what an exact play of even shares comes to."""
    alone = reads(megabytes * MB)
    shared = replace(alone, traffic={("edge-1", "up"): [other * MB for other in others]})
    took_s = figures(shared, node)["transfer"][0]
    if node == "edge-1":
        assert took_s == 0
        return
    latency_s = 0.1 if node == "core-1" else 0.2
    assert took_s == pytest.approx(played(megabytes, others) + latency_s)
    assert (
        figures(alone, node)["transfer"][0] <= took_s <= megabytes + sum(others) + latency_s + 1e-6
    )


def played(ours: float, others: list[int]) -> float:
    """Seconds until ours is through, at 1 MB/s, which all that are under way share evenly at each moment."""
    left, now_s = [ours, *map(float, others)], 0.0
    while left[0] > 1e-9:
        under_way = [at for at, size in enumerate(left) if size > 1e-9]
        step = min(left[at] for at in under_way)
        for at in under_way:
            left[at] -= step
        now_s += step * len(under_way)
    return now_s


def test_what_passes_links_is_told_with_the_choice() -> None:
    found = choose(Pool([EDGE, CORE]), replace(reads(10 * MB), where="core"))
    assert isinstance(found, Choice)
    assert found.transfers == (("edge-1", "up", 10 * MB),)
    back = replace(reads(0), writes=(Data(group="core", size_bytes=8 * MB),), where="edge")
    found = choose(Pool([EDGE, CORE]), back)
    assert isinstance(found, Choice)
    assert found.transfers == (("edge-1", "up", 8 * MB),)
    between = replace(reads(10 * MB), eligible=frozenset({"edge-2"}))
    found = choose(Pool([EDGE, FAR, CORE]), between)
    assert isinstance(found, Choice)
    assert found.transfers == (("edge-1", "up", 10 * MB), ("edge-2", "down", 10 * MB))
    here = choose(Pool([EDGE, CORE]), replace(reads(10 * MB), where="edge"))
    assert isinstance(here, Choice)
    assert here.transfers == ()
