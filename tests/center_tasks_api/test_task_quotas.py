"""A group's subtree never reserves more than its quota, and every refusal does its sums in the open."""

from collections.abc import Sequence
from typing import Any

from farshore_center.tasks.demands import demand_of
from farshore_center.tasks.quotas import (
    RESOURCES,
    Quota,
    Use,
    overs,
    quota_document,
    refused,
    use_of,
    used,
)
from farshore_protocol.tasks import Requests, TaskSpec
from farshore_protocol.tasks.spec import Gpus
from hypothesis import given
from hypothesis import strategies as st

GROUPS = st.sampled_from(["", "eu", "eu/hamburg", "eu/hamburg/line3", "europe", "us"])
AMOUNTS = st.fixed_dictionaries({name: st.integers(0, 20) for name in RESOURCES})
LIMITS: st.SearchStrategy[dict[Any, Any]] = st.fixed_dictionaries(
    {name: st.none() | st.integers(0, 60) for name in RESOURCES}
)


@st.composite
def quotas(draw: st.DrawFn) -> list[Quota]:
    groups = draw(st.lists(GROUPS, unique=True, max_size=4))
    return [Quota(group=group, **draw(LIMITS)) for group in groups]


@st.composite
def use(draw: st.DrawFn, names: st.SearchStrategy[str]) -> Use:
    return Use(task=draw(names), group=draw(GROUPS), amounts=draw(AMOUNTS))


NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])


def exceeded(quotas: Sequence[Quota], uses: Sequence[Use]) -> set[tuple[str, str]]:
    """Done anew, by a rule of its own: a path is in a subtree if its words begin with the other's."""

    def inside(path: str, top: str) -> bool:
        words, above = path.split("/"), top.split("/")
        return not top or words[: len(above)] == above

    return {
        (quota.group, name)
        for quota in quotas
        for name in RESOURCES
        if (most := getattr(quota, name)) is not None
        and sum(each.amounts[name] for each in uses if inside(each.group, quota.group)) > most
    }


@given(quotas(), st.lists(use(NAMES), max_size=20))
def test_what_is_admitted_one_by_one_never_exceeds_a_quota(
    limits: list[Quota], asked: list[Use]
) -> None:
    held: dict[str, Use] = {}
    for each in asked:
        if not overs(limits, list(held.values()), each):
            held[each.task] = each
    assert exceeded(limits, list(held.values())) == set()


@given(quotas(), st.lists(use(NAMES), max_size=6, unique_by=lambda each: each.task), use(NAMES))
def test_nothing_is_refused_that_would_fit(
    limits: list[Quota], held: list[Use], asked: Use
) -> None:
    after = [each for each in held if each.task != asked.task] + [asked]
    found = {(over.group, over.resource) for over in overs(limits, held, asked)}
    assert found <= exceeded(limits, after)
    for over in overs(limits, held, asked):
        assert over.asked + over.used > over.allowed


@given(quotas(), st.lists(use(NAMES), max_size=6, unique_by=lambda each: each.task), st.data())
def test_who_gives_back_is_never_refused(
    limits: list[Quota], held: list[Use], data: st.DataObject
) -> None:
    if held:
        before = data.draw(st.sampled_from(held))
        less = {name: data.draw(st.integers(0, n)) for name, n in before.amounts.items()}
        assert overs(limits, held, Use(task=before.task, group=before.group, amounts=less)) == []


def test_a_refusal_names_the_group_and_does_its_sums() -> None:
    spec = TaskSpec(
        kind="service",
        driver="process",
        count=4,
        group="eu/hamburg",
        requests=Requests(cpu_cores=1.5, gpu=Gpus(milli=250)),
    )
    others = [Use(task="old", group="eu", amounts={"cpu_milli": 5000, "instances": 2})]
    limits = [
        Quota(group="eu", cpu_milli=10_000, gpu_milli=1000),
        Quota(group="", instances=5),
        Quota(group="us", cpu_milli=0),
    ]
    problem = refused(overs(limits, others, use_of("new", spec)))
    assert problem.status == 409
    assert [(each.field, each.detail, each.expected) for each in problem.errors] == [
        (
            "requests.cpu_cores",
            "6 cpu_cores asked for, 5 left: the group eu may have 10, other tasks have 5",
            "5 or less over all instances",
        ),
        (
            "count",
            "4 instances asked for, 3 left: the whole fleet may have 5, other tasks have 2",
            "3 or less over all instances",
        ),
    ]
    assert problem.extra["quota"][0] == {
        "group": "eu", "resource": "cpu_cores", "asked": 6.0, "used": 5.0, "allowed": 10.0,
    }  # fmt: skip


@given(st.integers(0, 4_096_000))
def test_a_quota_counts_what_placement_books(milli: int) -> None:
    spec = TaskSpec(kind="service", driver="process", requests=Requests(cpu_cores=milli / 1000))
    assert use_of("t", spec).amounts["cpu_milli"] == milli
    assert demand_of(spec, members={"all": None}).cpu_milli == milli


def test_sums_of_tenths_are_exact() -> None:
    tenth = TaskSpec(kind="service", driver="process", requests=Requests(cpu_cores=0.1))
    uses = [use_of(f"t{number}", tenth) for number in range(9)]
    limits = [Quota(group="", cpu_milli=1000)]
    assert overs(limits, uses, use_of("t9", tenth)) == []
    assert overs(limits, [*uses, use_of("t9", tenth)], use_of("t10", tenth)) != []


def test_a_quota_is_shown_with_what_is_used() -> None:
    uses = [Use(task="a", group="eu/hamburg", amounts={"cpu_milli": 500, "gpu_milli": 250})]
    shown = quota_document(Quota(group="eu", cpu_milli=2000, instances=3), uses)
    assert shown["allowed"] == {
        "cpu_cores": 2.0, "memory_bytes": None, "disk_bytes": None, "gpus": None, "instances": 3,
    }  # fmt: skip
    assert shown["used"]["cpu_cores"] == 0.5
    assert shown["used"]["gpus"] == 0.25
    assert used(uses, "europe")["cpu_milli"] == 0
