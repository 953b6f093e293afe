"""An occurrence begins one run in the database, whoever looks, however often, and after a restart."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from farshore_center.db.database import Database
from farshore_center.events import EventLog
from farshore_center.tasks import store
from farshore_center.tasks.cron import Begun, begin_due
from farshore_center.tasks.occurrences import LATE_S
from farshore_center.tasks.records import Instance, Task
from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

SPEC = TaskSpec(kind="batch", driver="process", cron="*/10 * * * *")


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


DUE = at("2026-01-01T10:00")
NEXT = at("2026-01-01T10:10")


def opened(path: Path) -> Database:
    return Database(f"sqlite:///{path / 'center.db'}")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = opened(tmp_path)
    await made.start()
    yield made
    await made.stop()


async def add(database: Database, *states: str, wanted: str = "run") -> None:
    task = Task(
        name="nightly",
        revision=1,
        spec=SPEC,
        digest="sha256:0",
        wanted=wanted,  # type: ignore[arg-type] # one of its words
        next_ms=DUE,
    )

    def write(conn: Connection) -> None:
        store.add_task(conn, task)
        store.add_instances(
            conn,
            [Instance(task="nightly", instance=n, state=each) for n, each in enumerate(states)],
        )

    await database.write(write)


async def look(database: Database, now_ms: int) -> Begun:
    events = EventLog(database, lambda: now_ms)
    return await begin_due(database, events, "nightly", now_ms=now_ms, late_s=LATE_S)


async def task(database: Database) -> Task:
    return (await database.read(lambda conn: store.load_tasks(conn, ["nightly"])))["nightly"]


async def lines(database: Database) -> list[str]:
    rows = await database.read(lambda conn: store.history(conn, "nightly", 100))
    return [row["state"] for row in rows]


async def test_of_many_that_look_at_once_one_begins_it(database: Database) -> None:
    await add(database, "done")
    found = await asyncio.gather(*(look(database, DUE + n) for n in range(20)))
    assert [each.keys for each in found if each.keys] == [(("nightly", 0),)]
    assert {each.next_ms for each in found} == {NEXT}
    now = await task(database)
    assert (now.run, now.asked_ms, now.next_ms) == (2, DUE, NEXT)
    assert await lines(database) == ["occurrence"]


async def test_a_center_that_starts_anew_begins_nothing_twice_and_nothing_is_lost(
    tmp_path: Path,
) -> None:
    first = opened(tmp_path)
    await first.start()
    await add(first, "done")
    assert (await look(first, DUE - 1)).keys == ()
    assert (await look(first, DUE)).keys
    await first.stop()
    second = opened(tmp_path)
    await second.start()
    assert (await look(second, DUE + 1)).keys == ()
    assert (await look(second, NEXT + 1)).keys
    now = await task(second)
    assert (now.run, now.asked_ms) == (3, NEXT)
    assert await lines(second) == ["occurrence", "occurrence"]
    await second.stop()


@pytest.mark.parametrize("state", ["pending", "active"])
async def test_the_run_before_is_not_run_over(database: Database, state: str) -> None:
    await add(database, state)
    found = await look(database, DUE)
    assert (found.keys, found.next_ms) == ((), NEXT)
    assert (await task(database)).run == 1
    assert await lines(database) == ["left_out"]


@pytest.mark.parametrize("wanted", ["stop", "delete"])
async def test_a_task_that_is_not_to_run_has_no_occurrences(
    database: Database, wanted: str
) -> None:
    await add(database, "done", wanted=wanted)
    assert (await look(database, DUE)).keys == ()
    assert await lines(database) == []


async def test_one_that_was_missed_for_long_is_left_out(database: Database) -> None:
    await add(database, "done")
    assert (await look(database, at("2026-01-01T10:06"))).keys == ()
    assert await lines(database) == ["left_out"]


async def test_who_comes_second_begins_nothing_and_says_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a database where two centers read before either has written."""
    await add(database, "done")
    monkeypatch.setattr(store, "save_task", lambda *_: False)
    assert await look(database, DUE) == Begun(keys=(), next_ms=NEXT)
    assert await lines(database) == []
