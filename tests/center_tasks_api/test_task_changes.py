"""What people do to a task, in the database: each call leaves the right rows, once, with who did it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.tasks import changes, quota_store, store
from farshore_center.tasks.changes import Changed
from farshore_center.tasks.quotas import Quota
from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

NOW = 1_767_225_600_000


def spec(**more: Any) -> TaskSpec:
    return msgspec.convert({"kind": "service", "driver": "process", **more}, TaskSpec)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'center.db'}")
    await made.start()
    yield made
    await made.stop()


class Rows:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def do(self, work: Callable[..., Changed], *args: Any) -> Changed:
        return await self._database.write(lambda conn: work(conn, *args))

    async def put(self, what: TaskSpec, if_match: str | None = None, now_ms: int = NOW) -> Changed:
        return await self.do(changes.put, "camera", what, if_match, "ada", now_ms)

    async def history(self) -> list[tuple[str, str]]:
        rows = await self._database.read(lambda conn: store.history(conn, "camera", 100))
        return [(row["state"], row["author"]) for row in rows]

    async def settle(self, state: str) -> None:
        """Every instance has come to this state."""

        def write(conn: Connection) -> None:
            for each in store.instances_of(conn, ["camera"])["camera"]:
                store.save_instance(conn, each, replace(each, state=state))

        await self._database.write(write)


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(database)


async def test_a_new_task_has_all_its_instances_and_is_said_once(rows: Rows) -> None:
    made = await rows.put(spec(count=3))
    assert made.created
    assert made.look == (("camera", 0), ("camera", 1), ("camera", 2))
    same = await rows.put(spec(count=3))
    assert (same.created, same.changed, same.task) == (False, False, made.task)
    assert await rows.history() == [("put", "ada")]


async def test_a_changed_task_has_another_revision_and_the_instances_that_were_missing(
    rows: Rows,
) -> None:
    await rows.put(spec(count=1))
    changed = await rows.put(spec(count=2), '"1"')
    assert (changed.task.revision, changed.created) == (2, False)
    assert changed.look == (("camera", 0), ("camera", 1))
    with pytest.raises(Problem) as refused:
        await rows.put(spec(count=3), '"1"')
    assert refused.value.status == 412


async def test_less_instances_are_looked_at_too_so_that_they_end(rows: Rows) -> None:
    await rows.put(spec(count=3))
    assert len((await rows.put(spec(count=1))).look) == 3


async def test_stop_start_and_restart_begin_runs_that_are_counted(rows: Rows) -> None:
    await rows.put(spec())
    assert not (await rows.do(changes.start, "camera", "ada", NOW)).changed, "it runs"
    stopped = await rows.do(changes.stop, "camera", "bob", NOW)
    assert (stopped.task.wanted, stopped.task.run) == ("stop", 1)
    assert not (await rows.do(changes.stop, "camera", "bob", NOW)).changed
    with pytest.raises(Problem, match="is stopped; start it"):
        await rows.do(changes.restart, "camera", "bob", NOW)
    started = await rows.do(changes.start, "camera", "ada", NOW + 5)
    assert (started.task.wanted, started.task.run, started.task.asked_ms) == ("run", 2, NOW + 5)
    assert (await rows.do(changes.restart, "camera", "ada", NOW)).task.run == 3
    assert await rows.history() == [
        ("put", "ada"), ("stop", "bob"), ("start", "ada"), ("restart", "ada"),
    ]  # fmt: skip


@pytest.mark.parametrize("state", ["done", "failed"])
async def test_a_batch_that_is_over_runs_once_more(rows: Rows, state: str) -> None:
    await rows.put(spec(kind="batch"))
    assert not (await rows.do(changes.start, "camera", "ada", NOW)).changed
    await rows.settle(state)
    assert (await rows.do(changes.start, "camera", "ada", NOW)).task.run == 2


async def test_a_deleted_task_takes_nothing_any_more(rows: Rows) -> None:
    await rows.put(spec())
    with pytest.raises(Problem):
        await rows.do(changes.delete, "camera", "ada", NOW, '"9"')
    gone = await rows.do(changes.delete, "camera", "ada", NOW)
    assert gone.task.wanted == "delete"
    assert not (await rows.do(changes.delete, "camera", "ada", NOW)).changed
    for work in (changes.stop, changes.start, changes.restart):
        with pytest.raises(Problem, match="being deleted"):
            await rows.do(work, "camera", "ada", NOW)
    with pytest.raises(Problem, match="being deleted"):
        await rows.put(spec(count=2))


@pytest.mark.parametrize("work", [changes.stop, changes.start, changes.restart, changes.delete])
async def test_of_a_task_that_is_not_there_nothing_is_asked(
    rows: Rows, work: Callable[..., Changed]
) -> None:
    with pytest.raises(Problem, match="there is no task 'camera'"):
        await rows.do(work, "camera", "ada", NOW)


async def test_a_task_with_a_cron_rule_waits_for_its_time(rows: Rows) -> None:
    made = await rows.put(spec(kind="batch", cron="0 2 * * *"))
    assert made.look == ()
    assert made.task.next_ms == NOW + 2 * 3_600_000
    later = await rows.put(spec(kind="batch", cron="0 2 * * *", count=2), None, NOW + 9_000_000)
    assert later.task.next_ms == made.task.next_ms, "what is awaited stays so under the same rule"
    other = await rows.put(spec(kind="batch", cron="0 3 * * *"))
    assert other.task.next_ms == NOW + 3 * 3_600_000
    assert (await rows.do(changes.stop, "camera", "ada", NOW)).task.next_ms is None
    changed = await rows.put(spec(kind="batch", cron="0 4 * * *"))
    assert changed.task.next_ms is None, "it is stopped"
    assert (await rows.do(changes.start, "camera", "ada", NOW)).look == (("camera", 0),)


async def test_a_quota_is_asked_when_a_task_is_put_and_when_it_is_started(
    database: Database, rows: Rows
) -> None:
    await database.write(lambda conn: quota_store.save(conn, Quota(group="", instances=3)))
    await rows.put(spec(count=3))
    with pytest.raises(Problem, match="4 instances asked for, 3 left"):
        await rows.put(spec(count=4))
    await rows.do(changes.stop, "camera", "ada", NOW)
    await rows.put(spec(count=4))  # it is stopped, and holds nothing
    with pytest.raises(Problem, match="4 instances asked for"):
        await rows.do(changes.start, "camera", "ada", NOW)
    await rows.put(spec(count=2))
    assert (await rows.do(changes.start, "camera", "ada", NOW)).changed
