"""Whether to wait for a full node: only for ends that are known, only if it is clearly better."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from center_placement.generated import NAMES, filled, node, plain_demands
from farshore_center.placement import (
    POLICIES,
    Data,
    Demand,
    End,
    Held,
    Link,
    NodeCapacity,
    Placement,
    Pool,
    RunTime,
    Wait,
    explain,
    placement_of,
    room_to_wait_for,
)
from farshore_center.placement.cost import reckon
from farshore_center.placement.room import gpus_with
from farshore_center.placement.waiting import CLEARLY, CLEARLY_S, ROOM
from hypothesis import event, given
from hypothesis import strategies as st

MB = 10**6
LINK = Link(up_bytes_s=MB, down_bytes_s=MB, latency_s=0.0, measured=True)
EDGE = NodeCapacity(node="edge-1", group="eu", cpu_milli=2000, link=LINK)
CORE = NodeCapacity(node="core-1", group="core", cpu_milli=64_000)
RUNS = {"*": RunTime(mean_s=20.0, p95_s=30.0, count=9)}
BATCH = Demand(
    cpu_milli=2000,
    batch=True,
    reads=(Data(node="edge-1", size_bytes=600 * MB),),
    run_times=RUNS,
)
BUSY = Demand(cpu_milli=2000)
DEFAULT = POLICIES["default"]


def busy(*more: NodeCapacity) -> Pool:
    pool = Pool([EDGE, CORE, *more])
    pool.place("busy", BUSY, "edge-1")
    return pool


def asked(
    pool: Pool,
    demand: Demand = BATCH,
    ends: Mapping[str, End] | None = None,
    ahead: Held = (),
    waited_s: float = 0.0,
    policy: str = "default",
) -> Wait | None:
    known = {"busy": End(40.0, "measured")} if ends is None else ends

    def held(node: str) -> Held:
        return [(each, known.get(each.task)) for each in pool.on(node)]

    return room_to_wait_for(
        pool,
        demand,
        held,
        lambda node: ahead if node == "edge-1" else (),
        waited_s=waited_s,
        policy=POLICIES[policy],
    )


def test_it_waits_for_the_node_with_its_data_that_is_free_soon() -> None:
    found = asked(busy())
    assert found is not None
    assert (found.node, found.wait_s, found.completion_s) == ("edge-1", 40.0, 60.0)
    assert found.instead == "core-1"
    assert found.instead_s == pytest.approx(620.0)
    told = {each.name: (each.value, each.origin) for each in found.figures}
    assert told["wait"] == (40.0, "measured")
    assert told["completion"] == (60.0, "measured elsewhere")
    assert told["completion p95"] == (70.0, "measured elsewhere")
    assert "wait" not in {each.name for each in found.instead_figures}


def test_it_does_not_wait_for_an_end_that_nobody_knows() -> None:
    assert asked(busy(), ends={}) is None


def test_it_does_not_wait_where_it_is_not_clearly_better() -> None:
    assert asked(busy(), ends={"busy": End(620 / CLEARLY - 20 + 1, "measured")}) is None
    assert asked(busy(), ends={"busy": End(620 / CLEARLY - 20 - 1, "measured")}) is not None
    little = replace(BATCH, reads=(Data(node="edge-1", size_bytes=int(1.5 * MB)),))
    assert asked(busy(), little, ends={"busy": End(0.1, "measured")}) is None, "1.5 s are not 2"


def test_in_all_it_waits_for_no_longer_than_it_would_take_elsewhere() -> None:
    assert asked(busy(), waited_s=619.0) is not None
    assert asked(busy(), waited_s=621.0) is None


def test_only_batches_wait_and_only_where_time_counts() -> None:
    assert asked(busy(), replace(BATCH, batch=False)) is None
    assert asked(busy(), policy="fgd") is None
    assert asked(busy(), replace(BATCH, reads=(), run_times={})) is None


def test_who_waits_already_holds_the_place_until_it_is_done() -> None:
    first = placement_of("first", BATCH, "edge-1", ())
    found = asked(busy(), ahead=[(first, End(60.0, "hint"))])
    assert found is not None
    assert (found.wait_s, found.ahead) == (60.0, 1)
    assert found.figures[0].origin == "hint"
    assert asked(busy(), ahead=[(first, None)]) is None


def test_a_node_that_lacks_more_than_room_is_not_waited_for() -> None:
    for edge in (
        replace(EDGE, refuses="drained"),
        replace(EDGE, cpu_milli=1000),
        replace(EDGE, drivers=frozenset({"container"})),
        replace(EDGE, battery_pct=5.0),
    ):
        pool = Pool([edge, CORE])
        pool.adopt("busy", BUSY, "edge-1")
        assert asked(pool) is None, edge


def test_the_deadline_counts_with_the_wait() -> None:
    assert asked(busy(), replace(BATCH, deadline_s=71.0)) is not None
    assert asked(busy(), replace(BATCH, deadline_s=69.0)) is None


def test_where_nothing_has_room_it_says_what_will() -> None:
    pool = Pool([EDGE])
    pool.place("busy", BUSY, "edge-1")
    found = asked(pool, waited_s=10_000.0)
    assert found is not None
    assert (found.node, found.wait_s, found.instead) == ("edge-1", 40.0, None)


def test_an_unknown_run_time_is_no_reason_to_wait() -> None:
    of_core = replace(BATCH, run_times={"core": RUNS["*"]})
    assert asked(busy(), of_core) is None
    nowhere = replace(BATCH, run_times={})
    found = asked(busy(), nowhere)
    assert found is not None, "as unknown there as here"
    assert found.completion_s == found.wait_s


def test_gpus_and_devices_are_waited_for_too() -> None:
    edge = replace(EDGE, gpus=("T4", "T4"), devices=frozenset({"cam"}))
    pool = Pool([edge, replace(CORE, gpus=("T4",) * 2, devices=frozenset({"cam"}))])
    pool.place("busy", Demand(gpus=1, devices=frozenset({"cam"})), "edge-1", (0,))
    camera = asked(pool, replace(BATCH, devices=frozenset({"cam"})))
    assert camera is not None
    both = asked(pool, replace(BATCH, gpus=2))
    assert both is not None
    assert (both.gpus, both.wait_s) == ((0, 1), 40.0)


ends = st.dictionaries(
    st.sampled_from([f"t{number}" for number in range(16)]),
    st.builds(
        End,
        in_s=st.sampled_from([0.5, 3.0, 30.0, 300.0]),
        origin=st.sampled_from(["measured", "hint"]),
    ),
    min_size=8,
)
full_nodes = st.integers(1, 4).flatmap(
    lambda count: st.tuples(*(node(name) for name in NAMES[:count])).map(
        lambda given: [replace(each, refuses="", battery_pct=None) for each in given]
    )
)
batches = st.builds(
    lambda demand, size, where, more: replace(
        demand,
        cpu_milli=max(500, demand.cpu_milli),
        batch=True,
        driver="process",
        reads=(Data(node=where, size_bytes=size),),
        **more,
    ),
    plain_demands,
    st.sampled_from([0, 10**4, 10**6]),
    st.sampled_from(NAMES[:4]),
    st.fixed_dictionaries({"run_times": st.just(RUNS)}, optional={"deadline_s": st.just(500.0)}),
)


def earliest(pool: Pool, node: str, demand: Demand, known: Mapping[str, End]) -> float | None:
    """The first moment at which it fits there, found by trying them all."""
    for at_s in sorted(end.in_s for end in known.values()):
        stay: list[Placement] = [
            each for each in pool.on(node) if each.task not in known or known[each.task].in_s > at_s
        ]
        if gpus_with(pool.node(node), stay, demand) is not None:
            return at_s
    return None


@given(
    full_nodes,
    st.lists(plain_demands, min_size=4, max_size=16),
    batches,
    ends,
    st.sampled_from([0.0, 7.0]),
)
def test_a_wait_is_as_short_as_can_be_and_clearly_better(
    given_nodes: list[NodeCapacity],
    tasks: list[Demand],
    demand: Demand,
    known: dict[str, End],
    waited_s: float,
) -> None:
    pool = filled(given_nodes, tasks, DEFAULT)
    found = asked(pool, demand, ends=known, waited_s=waited_s)
    completion_s = reckon(pool.columns, demand).completion_s
    judged = {each.node: each.filter for each in explain(pool, demand).verdicts}
    now = [row for name, row in pool.columns.row.items() if judged[name] is None]
    now_s = min((float(completion_s[row]) for row in now), default=float("inf"))
    may = {}
    for name, filtered in judged.items():
        wait_s = earliest(pool, name, demand, known) if filtered in ROOM else None
        if wait_s is None or (demand.deadline_s or 1e9) < wait_s + 30.0 + _transfer(
            pool, name, demand
        ):
            continue
        done_s = wait_s + float(completion_s[pool.columns.row[name]])
        if done_s * CLEARLY <= now_s and done_s + CLEARLY_S <= now_s and waited_s <= now_s:
            may[name] = (done_s, wait_s)
    event(f"waits: {found is not None}, instead: {found is not None and found.instead is not None}")
    if found is None:
        assert not may
        return
    assert found.completion_s == pytest.approx(min(done_s for done_s, _ in may.values()))
    assert found.wait_s == may[found.node][1]
    assert (found.instead is None) == (not now)


def _transfer(pool: Pool, node: str, demand: Demand) -> float:
    return float(reckon(pool.columns, demand).transfer_s[pool.columns.row[node]])
