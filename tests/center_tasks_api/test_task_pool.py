"""The pool's sums are true, and what is called stranded can't be used by the work that there is."""

import pytest
from farshore_center.placement import Demand, NodeCapacity, Pool
from farshore_center.tasks.pool import (
    AMOUNTS,
    NodeBooks,
    capacity_of,
    free_of,
    largest_of,
    mix_of,
    reserved_of,
    stranded_of,
    view,
)
from farshore_center.tasks.silos import Work, report
from hypothesis import given
from hypothesis import strategies as st

GIB = 2**30
GROUPS = st.sampled_from(["", "eu", "eu/hamburg", "eu/paris", "us", "core"])

DEMANDS = st.builds(
    Demand,
    cpu_milli=st.integers(0, 4000),
    memory_bytes=st.integers(0, 8).map(lambda n: n * GIB),
    gpus=st.just(0),
    gpu_milli=st.sampled_from([0, 0, 250, 500]),
    min_battery_pct=st.just(0.0),
)


@st.composite
def fleets(draw: st.DrawFn) -> list[NodeCapacity]:
    number = draw(st.integers(1, 6))
    return [
        NodeCapacity(
            node=f"n{i}",
            group=draw(GROUPS),
            cpu_milli=draw(st.integers(0, 8)) * 1000,
            memory_bytes=draw(st.integers(0, 16)) * GIB,
            gpus=draw(st.sampled_from([(), ("T4",), ("T4", "A10")])),
        )
        for i in range(number)
    ]


def books_of(pool: Pool, nodes: list[NodeCapacity], closed: frozenset[str]) -> list[NodeBooks]:
    return [
        NodeBooks(capacity=node, held=pool.on(node.node), drained=node.node in closed)
        for node in nodes
    ]


def filled(nodes: list[NodeCapacity], demands: list[Demand]) -> tuple[Pool, list[Work]]:
    """The demands on the first nodes that take them."""
    pool, work = Pool(nodes), []
    for number, demand in enumerate(demands):
        where = next((n.node for n in nodes if _taken(pool, n.node, f"t{number}", demand)), None)
        group = "" if where is None else pool.node(where).group
        work.append(Work(id=f"t{number}", demand=demand, group=group, node=where))
    return pool, work


def _taken(pool: Pool, node: str, task: str, demand: Demand) -> bool:
    from farshore_center.placement.errors import DoesNotFitError

    gpus: tuple[int, ...] = ()
    if demand.gpu_milli:
        index = [
            i
            for i in range(len(pool.node(node).gpus))
            if sum(p.gpu_milli for p in pool.on(node) if i in p.gpus) + demand.gpu_milli <= 1000
        ]
        if not index:
            return False
        gpus = (index[0],)
    try:
        pool.place(task, demand, node, gpus)
    except DoesNotFitError:
        return False
    return True


@given(fleets(), st.lists(DEMANDS, max_size=10), st.frozensets(st.sampled_from(["n0", "n1", "n2"])))
def test_every_unit_of_the_pool_is_counted_once(
    nodes: list[NodeCapacity], demands: list[Demand], closed: frozenset[str]
) -> None:
    pool, work = filled(nodes, demands)
    books = books_of(pool, nodes, closed)
    shown = view(books, mix_of(each.demand for each in work))
    total = shown["total"]
    for name in AMOUNTS:
        assert total["capacity"][name] == sum(capacity_of(node)[name] for node in nodes)
        assert total["reserved"][name] == sum(reserved_of(b.held)[name] for b in books)
        assert (
            total["capacity"][name]
            == total["reserved"][name] + total["free"][name] + total["closed"][name]
        )
        stranded = total["stranded"][name]
        assert (stranded is None) == (not any(shape.asks(name) for shape in mix_of(demands)))
        assert stranded is None or 0 <= stranded <= total["free"][name] + 1
    tops = [share for path, share in shown["groups"].items() if "/" not in path]
    loose = sum(not node.group for node in nodes)
    assert sum(share["nodes"] for share in tops) + loose == len(nodes)
    assert shown["groups"].get("eu", {}).get("nodes", 0) == sum(
        node.group.split("/")[0] == "eu" for node in nodes
    )


@given(fleets(), st.lists(DEMANDS, min_size=1, max_size=10))
def test_what_a_task_of_the_only_kind_could_take_is_not_stranded_and_all_else_is(
    nodes: list[NodeCapacity], demands: list[Demand]
) -> None:
    pool, _ = filled(nodes, demands[1:])
    demand = demands[0]
    for books in books_of(pool, nodes, frozenset()):
        lost = stranded_of(books, mix_of([demand]))
        fits = _taken(pool.copy(), books.capacity.node, "one more", demand)
        free = free_of(books)
        for name in ("cpu_milli", "memory_bytes"):
            if name in lost:
                assert lost[name] == (0 if fits else free[name])


def node(name: str, group: str, cores: int, gib: int, *gpus: str) -> NodeCapacity:
    return NodeCapacity(
        node=name, group=group, cpu_milli=cores * 1000, memory_bytes=gib * GIB, gpus=gpus
    )


def test_cores_beside_exhausted_memory_are_stranded() -> None:
    demand = Demand(cpu_milli=1000, memory_bytes=4 * GIB)
    nodes = [node("a", "eu", 8, 4), node("b", "eu", 8, 32)]
    pool, _ = filled(nodes, [demand])
    shown = view(books_of(pool, nodes, frozenset()), mix_of([demand]))["total"]
    assert shown["free"]["cpu_milli"] == 15_000
    assert shown["stranded"]["cpu_milli"] == 7_000
    assert shown["stranded"]["memory_bytes"] == 0
    assert shown["stranded"]["gpu_milli"] is None


def test_shares_of_gpus_that_are_too_small_are_stranded() -> None:
    demand = Demand(cpu_milli=100, gpu_milli=600)
    nodes = [node("a", "", 8, 4, "T4", "T4")]
    pool, _ = filled(nodes, [demand])
    shown = view(books_of(pool, nodes, frozenset()), mix_of([demand]))["total"]
    assert shown["free"]["gpu_milli"] == 1400
    assert shown["stranded"]["gpu_milli"] == 400


def test_nodes_are_shown_where_they_are_asked_for() -> None:
    nodes = [node("b", "eu", 2, 4), node("a", "us", 3, 4)]
    books = [NodeBooks(capacity=each) for each in nodes]
    assert "nodes" not in view(books, ())
    shown = view(books, (), nodes=True)["nodes"]
    assert list(shown) == ["a", "b"]
    assert shown["a"]["capacity"]["cpu_milli"] == 3000


def test_the_most_that_one_node_has() -> None:
    nodes = [node("a", "eu", 4, 2, "T4", "T4"), node("b", "us", 16, 1)]
    assert largest_of(nodes) == {
        "cpu_milli": 16_000, "memory_bytes": 2 * GIB, "disk_bytes": 0, "gpu_milli": 2000,
    }  # fmt: skip
    assert largest_of([]) is None


def test_use_is_that_of_the_nodes_that_told_and_nothing_where_none_did() -> None:
    nodes = [node("a", "eu", 2, 4), node("b", "us", 2, 4)]
    books = [
        NodeBooks(capacity=nodes[0], used={"cpu_milli": 300}),
        NodeBooks(capacity=nodes[1], online=False),
    ]
    shown = view(books, ())
    assert shown["groups"]["us"]["used"] is None
    assert shown["total"]["used"]["cpu_milli"] == 300
    assert shown["total"]["used"]["memory_bytes"] is None
    assert (shown["total"]["told"], shown["total"]["online"]) == (1, 1)
    assert shown["total"]["closed"]["cpu_milli"] == 2000


def test_silos_need_more_nodes_for_the_same_work() -> None:
    """Three of 3 cores on two nodes of 4 in one group; the other group's two nodes are nearly idle."""
    nodes = [
        node("a1", "a", 4, 8),
        node("a2", "a", 4, 8),
        node("b1", "b", 4, 8),
        node("b2", "b", 4, 8),
    ]
    big, small = Demand(cpu_milli=3000), Demand(cpu_milli=500)
    work = [
        Work(id="a.0", demand=big, group="a", node="a1"),
        Work(id="a.1", demand=big, group="a", node="a2"),
        Work(id="a.2", demand=big, group="a", node="b1"),
        Work(id="b.0", demand=small, group="b", node="b2"),
    ]
    found = report(nodes, work)
    assert found["together"]["placed"] == 4
    assert found["apart"]["placed"] == 3
    assert found["apart"]["nodes_more"] == 1
    assert found["groups"]["a"] == {
        "nodes": 2, "asked": 3, "placed": 2, "nodes_more": 1, "impossible": 0,
    }  # fmt: skip
    assert found["together"]["utilisation"]["cpu_milli"] == pytest.approx(9.5 / 16)
    assert found["apart"]["utilisation"]["cpu_milli"] == pytest.approx(9.5 / 20)
    assert found["together"]["utilisation"]["gpu_milli"] is None


def test_a_silo_that_lacks_the_kind_of_node_needs_one_as_the_work_has_now() -> None:
    nodes = [node("a1", "a", 4, 8), node("core1", "core", 64, 256, "A100")]
    work = [Work(id="train.0", demand=Demand(gpus=1), group="a", node="core1")]
    found = report(nodes, work)
    assert found["groups"]["a"]["nodes_more"] == 1
    assert found["apart"]["utilisation"]["gpu_milli"] == pytest.approx(0.5)


def test_work_that_fits_on_no_kind_of_node_is_said_to_be_impossible() -> None:
    work = [Work(id="big.0", demand=Demand(cpu_milli=99_000), group="a", node=None)]
    found = report([node("a1", "a", 4, 8)], work)
    assert found["groups"]["a"] == {
        "nodes": 1, "asked": 1, "placed": 0, "nodes_more": 0, "impossible": 1,
    }  # fmt: skip


@given(fleets(), st.lists(DEMANDS, max_size=12), st.integers(1, 2))
def test_the_silos_together_have_all_the_nodes_and_all_the_work(
    nodes: list[NodeCapacity], demands: list[Demand], depth: int
) -> None:
    _, work = filled(nodes, demands)
    found = report(nodes, work, depth)
    groups = found["groups"].values()
    assert sum(each["nodes"] for each in groups) == len(nodes)
    assert sum(each["asked"] for each in groups) == len(work)
    for each in groups:
        assert each["placed"] + each["impossible"] <= each["asked"]
        if each["nodes_more"] == 0:
            assert each["placed"] + each["impossible"] == each["asked"]
        else:
            assert each["nodes_more"] <= each["asked"] - each["placed"] - each["impossible"]
    for name in AMOUNTS:
        apart, together = (
            found["apart"]["utilisation"][name],
            found["together"]["utilisation"][name],
        )
        assert apart is None or together is None or apart <= together + 1e-9
