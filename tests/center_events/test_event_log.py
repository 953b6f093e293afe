"""Promises of the log: written with the transaction, in order, found again, pruned."""

import asyncio

import pytest
from center_events.conftest import NOW_MS, Happen
from farshore_center.db.database import Database
from farshore_center.events import Draft, Event, EventFilter, EventLog, rfc3339
from farshore_center.events.document import json_text
from farshore_center.events.instant import LAST_MS
from farshore_center.events.model import events
from farshore_center.events.select import is_kind_pattern
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select

KINDS = ["command.created", "command.target", "commands", "node.online", "COMMAND.target", "a_b"]


async def test_events_come_back_in_the_order_of_their_drafts(log: EventLog, happen: Happen) -> None:
    drafts = [Draft(kind="k", data={"n": n}) for n in range(2500)]
    written = await happen(*drafts)
    assert [event.id for event in written] == list(range(written[0].id, written[0].id + 2500))
    page = await log.page(EventFilter(), written[0].id - 1, 5000)
    assert list(page.items) == written[-len(page.items) :]


async def test_an_event_of_a_transaction_that_fails_never_was(
    database: Database, log: EventLog
) -> None:
    def work(conn: Connection) -> None:
        log.append(conn, [Draft(kind="k")])
        raise RuntimeError("the work fails")

    with pytest.raises(RuntimeError):
        await database.write(work)
    assert await log.list() == []


async def test_only_the_newest_are_kept(database: Database, log: EventLog, happen: Happen) -> None:
    for _ in range(11):
        last = await happen(*[Draft(kind="k")] * 250)

    def count(conn: Connection) -> int:
        return conn.execute(select(func.count()).select_from(events)).scalar_one()

    assert 500 <= await database.read(count) < 1000
    bounds = await log.bounds()
    assert bounds.newest == last[-1].id
    assert bounds.oldest > 1


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        pytest.param({}, ["command.created", "node.online", "command.target"], id="everything"),
        pytest.param({"kind": "command.*"}, ["command.created", "command.target"], id="a glob"),
        pytest.param({"kind": "command.target"}, ["command.target"], id="a kind"),
        pytest.param({"node": "pi-17"}, ["node.online", "command.target"], id="a node"),
        pytest.param({"command": "c1"}, ["command.created", "command.target"], id="a command"),
        pytest.param({"limit": 1}, ["command.target"], id="the latest one"),
    ],
)
async def test_a_list_holds_what_was_asked_for(
    log: EventLog, happen: Happen, wanted: dict[str, object], kinds: list[str]
) -> None:
    await happen(
        Draft(kind="command.created", command="c1"),
        Draft(kind="node.online", node="pi-17"),
        Draft(kind="command.target", node="pi-17", command="c1"),
    )
    assert [event.kind for event in await log.list(**wanted)] == kinds  # type: ignore[arg-type]


@given(
    kind=st.sampled_from(KINDS), pattern=st.sampled_from([*KINDS, "command.*", "com*", "a?b*", "*"])
)
def test_a_pattern_matches_by_its_beginning(kind: str, pattern: str) -> None:
    event = Event(id=1, at_ms=0, kind=kind, node=None, command=None, data="{}")
    expected = kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern
    assert EventFilter(kind=pattern).matches(event) is expected


@pytest.mark.parametrize("text", ["command.*", "command.target", "*", "node"])
def test_kind_patterns(text: str) -> None:
    assert is_kind_pattern(text)


@pytest.mark.parametrize("text", ["", "com*mand", "Command", "%", "a b", "ä", "x" * 80])
def test_no_kind_patterns(text: str) -> None:
    assert not is_kind_pattern(text)


async def test_an_announcement_wakes_only_whom_it_concerns(log: EventLog, happen: Happen) -> None:
    with (
        log.subscribe(EventFilter(node="pi-17")) as mine,
        log.subscribe(EventFilter(node="pi-18")) as other,
    ):
        await happen(Draft(kind="k", node="pi-17"))
        assert await mine.news(0)
        assert not await other.news(0)
    assert log.subscribers == 0


async def test_what_comes_during_reading_wakes_again(log: EventLog, happen: Happen) -> None:
    with log.subscribe(EventFilter()) as subscription:
        subscription.rearm()
        await asyncio.gather(log.page(EventFilter(), 0, 10), happen(Draft(kind="k")))
        assert await subscription.news(0)


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (NOW_MS, "2025-11-22T16:47:00.123Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (-5, "1970-01-01T00:00:00.000Z"),
        (LAST_MS, "9999-12-31T23:59:59.999Z"),
        (2**60, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_instants(at_ms: int, text: str) -> None:
    assert rfc3339(at_ms) == text


def test_any_value_can_be_written() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert json_text({"n": 10**30}) == '{"n":' + "1" + "0" * 30 + "}"
    assert "left_out" in json_text({"deep": deep})
    while deep:  # taken apart by hand: its own destruction would recurse as deep
        deep = deep[0]  # type: ignore[assignment]
