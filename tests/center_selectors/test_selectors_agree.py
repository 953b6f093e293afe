"""The database and the predicate mean the same nodes, whatever the fleet and the selector."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from center_selectors.fleets import FLEETS, NAMES, SELECTORS, both, fleet_of, store_fleet
from farshore_center.db.engine import open_writer, parse_url
from farshore_center.db.migrate import upgrade
from farshore_center.nodes import store
from farshore_center.nodes.model import node_values
from farshore_center.selectors import Subject, expand, matches, parse, render
from farshore_center.selectors.model import InOverlay, Selector
from farshore_center.selectors.predicate import text_test
from farshore_center.selectors.sql import condition
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    path: Path = tmp_path_factory.mktemp("db") / "center.db"
    engine = open_writer(parse_url(f"sqlite:///{path}"))
    upgrade(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=400)
@given(fleet=FLEETS, selector=SELECTORS)
def test_sql_and_predicate_agree(
    connection: Connection, fleet: list[dict[str, Any]], selector: Selector
) -> None:
    by_sql, by_predicate = both(connection, fleet, selector)
    assert by_sql == by_predicate


@settings(max_examples=400)
@given(selector=SELECTORS)
def test_what_is_rendered_reads_as_the_same(selector: Selector) -> None:
    text = render(selector)
    assert parse(text) == selector
    assert render(parse(text)) == text


@given(selector=SELECTORS)
def test_every_selector_can_be_said_to_postgresql(selector: Selector) -> None:
    class Anything(dict[Any, list[str]]):
        def __missing__(self, _key: Any) -> list[str]:
            return ["a"]

    statement = select(node_values.c.node).where(condition(selector, "postgresql", Anything()))
    assert "GLOB" not in str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(before=FLEETS, after=FLEETS)
def test_values_follow_every_change(
    connection: Connection, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    """Written over one another, or anew: the same rows; and none is left of a removed node."""
    everything = select(node_values).order_by(*node_values.primary_key)
    with connection.begin() as transaction:
        store_fleet(connection, after)
        fresh = connection.execute(everything).all()
        transaction.rollback()
    with connection.begin() as transaction:
        store_fleet(connection, before)
        store_fleet(connection, after)
        for node in before[len(after) :]:
            store.remove(connection, node["name"])
        assert connection.execute(everything).all() == fresh
        connection.execute(node_values.delete())
        store.lay_out(connection)
        assert connection.execute(everything).all() == fresh
        for node in after:
            store.remove(connection, node["name"])
        assert connection.execute(everything).all() == []
        transaction.rollback()


MEANINGS: list[tuple[str, dict[str, Any], str, bool]] = [
    ("numbers are compared as numbers", {"n": 4e9}, "fact.n>=4e9", True),
    ("10 is more than 9", {"n": 10}, "fact.n>9", True),
    ("a label that reads as a number is ordered as one", {"l": "10"}, "label.l>9", True),
    ("a quoted number is a text, ordered by code point", {"l": "10"}, 'label.l>"9"', False),
    ("a label is equal only if spelled alike", {"l": "1.10"}, "label.l=1.1", False),
    ("a fact that is a number is equal by value", {"n": 4.0}, "fact.n=4", True),
    ("a quoted number is compared by spelling", {"n": 4.0}, 'fact.n="4"', False),
    ("a text that reads as a number is equal only if spelled alike", {"n": "04"}, "fact.n=4", False),
    ("a boolean is written true", {"n": True}, "fact.n=true", True),
    ("a boolean is no number", {"n": True}, "fact.n>=1", False),
    ("a number is not ordered as a text", {"n": 4}, "fact.n<a", False),
    ("upper case is another text", {"l": "Prod"}, "label.l=prod", False),
    ("what is missing is not equal", {}, "label.l=prod", False),
    ("what is missing is unequal", {}, "label.l!=prod", True),
    ("what is missing is not less", {}, "fact.n<4", False),
    ("null is missing", {"n": None}, "has(fact.n)", False),
    ("an empty list is missing", {"n": []}, "has(fact.n)", False),
    ("a branch is there with its leaves", {"n": {"a": 1}}, "has(fact.n)", True),
    ("a longer name is another branch", {"nn": 1}, "has(fact.n)", False),
    ("any of a list", {"n": [1, 5]}, "fact.n=5", True),
    ("unequal means none of a list", {"n": [1, 5]}, "fact.n!=5", False),
    ("through lists of objects", {"n": [{"ip": "10.1.2.3"}]}, "fact.n.ip within 10.0.0.0/8", True),
    ("outside of the subnet", {"n": ["11.1.2.3"]}, "fact.n within 10.0.0.0/8", False),
    ("a regular expression covers the whole text", {"l": "prod-1"}, "label.l=~prod", False),
    ("a glob covers the whole text", {"l": "prod-1"}, "label.l~prod", False),
    ("in is any of them", {"l": "b"}, "label.l in (a, b)", True),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given_values", "text", "meant"),
    [row[1:] for row in MEANINGS],
    ids=[row[0] for row in MEANINGS],
)
def test_what_a_comparison_means(
    connection: Connection, given_values: dict[str, Any], text: str, meant: bool
) -> None:
    labels = {k: v for k, v in given_values.items() if k == "l"}
    facts = {k: v for k, v in given_values.items() if k != "l"}
    node = {"group": "eu", "state": "online", "labels": labels, "facts": facts}
    by_sql, by_predicate = both(connection, fleet_of([node]), parse(text))
    assert (by_sql, by_predicate) == ({NAMES[0]}, {NAMES[0]}) if meant else (set(), set())


def test_a_group_is_not_its_namesake(connection: Connection) -> None:
    nodes: list[dict[str, Any]] = [
        {"group": group, "state": "online", "labels": {}, "facts": {}}
        for group in ("", "eu", "eu/hamburg", "eu_", "eur")
    ]
    fleet = fleet_of(nodes)
    for text, groups in {
        "group:eu": {"eu"},
        "group:eu/**": {"eu", "eu/hamburg"},
        "group:/": {""},
        "group:/**": {"", "eu", "eu/hamburg", "eu_", "eur"},
        "group~eu*": {"eu", "eu/hamburg", "eu_", "eur"},
    }.items():
        by_sql, by_predicate = both(connection, fleet, parse(text))
        assert by_sql == by_predicate == {n["name"] for n in fleet if n["group"] in groups}, text


def test_a_saved_selector_stands_for_what_it_says() -> None:
    grown = expand(parse("overlay:gpu and not overlay:old"), lambda n: parse(f"label.{n}=1 or all"))
    assert render(grown) == "(label.gpu=1 or all) and not (label.old=1 or all)"
    with pytest.raises(ValueError, match="not expanded"):
        matches(InOverlay(name="gpu"), Subject(name="a", group="", state="online", values={}))


@pytest.mark.parametrize("pattern", ["*a" * 120 + "b", "[!b]*" * 50 + "b"])
def test_a_glob_takes_no_time_whatever_it_says(pattern: str) -> None:
    assert not text_test("~", pattern)("a" * 256)


def test_a_regular_expression_takes_no_time_whatever_it_says() -> None:
    assert not text_test("=~", "(a+)+(a+)+(a+)+b")("a" * 256)
