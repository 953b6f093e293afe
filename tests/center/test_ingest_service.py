"""Ingest on a real database: acknowledged only after the commit, whatever goes wrong."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from center.running import EPOCH, until
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events import EventLog
from farshore_center.ingest import store
from farshore_center.ingest.arrival import Arrival, read
from farshore_center.ingest.engine import Greeting
from farshore_center.ingest.rejected import RejectedList
from farshore_center.ingest.service import IngestService, IngestSettings
from farshore_center.telemetry.service import TelemetryHistory
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.messages import StreamHead, TimeRequest
from farshore_protocol.topics import parse
from sqlalchemy import text

DATES = "select t0_ms, approximate from telemetry_batch order by id"


class FailingDatabase(Database):
    """A database whose commits fail while ``broken``."""

    broken: Exception | None = None
    held: asyncio.Event | None = None
    """What the next read, with what it has found already, waits for."""

    async def write(self, work: Callable[[Any], Any]) -> Any:
        if self.broken is not None:
            raise self.broken
        return await super().write(work)

    async def read(self, work: Callable[[Any], Any]) -> Any:
        held, self.held = self.held, None
        found = await super().read(work)
        if held is not None:
            await held.wait()
        return found


class Recorder:
    """Commands' room, which chokes on one verb."""

    def record_many(self, _conn: Any, reports: Any) -> list[Any]:
        if any(report.verb == "poison" for _, report in reports):
            raise ValueError("nobody foresaw this")
        return []

    def reported(self) -> None:
        """After each commit with reports."""


class Desk:
    def __init__(self, database: FailingDatabase) -> None:
        self.clock = ManualClock()
        self.sent: list[Message] = []
        now_ms, now_s = self.clock.now_ms, self.clock.monotonic_s
        self.database = database
        self.facts: list[str] = []
        self.rejected = RejectedList(now_ms=now_ms, now_s=now_s, tell=lambda _message: None)
        self.history = TelemetryHistory(database, now_ms)
        self.ingest = IngestService(
            database,
            EventLog(database, now_ms),
            self,
            self.history,
            Recorder(),
            Recorder(),
            self.rejected,
            now_ms=now_ms,
            now_s=now_s,
            facts_committed=lambda _node, report: self.facts.append(report.digest),
            settings=IngestSettings(
                linger_s=0.005, failure_pause_s=0.01, holes_every_s=0.01, hole_open_s=30
            ),
        )

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def take(self, *items: Arrival | Greeting) -> None:
        for item in items:
            await self.ingest.submit(item)
        await self.ingest.drained()

    def acks(self) -> list[Any]:
        return [json.loads(message.payload) for message in self.sent]

    async def rows(self, sql: str) -> list[Any]:
        found: list[Any] = await self.database.read(lambda c: c.execute(text(sql)).all())
        return found


@asynccontextmanager
async def at_work(path: Path) -> AsyncIterator[Desk]:
    database = FailingDatabase(f"sqlite:///{path}")
    await database.start()
    desk = Desk(database)
    running = asyncio.create_task(desk.ingest.run())
    try:
        yield desk
        assert not running.done(), "nothing that comes in may end the loop"
    finally:
        running.cancel()
        await database.stop()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with at_work(tmp_path / "center.db") as desk:
        yield desk


def arrival(path: str, seq: int, *, node: str = "pi-1", **body: Any) -> Arrival:
    content = {"epoch": EPOCH, "seq": seq, "boot": "b", "up_ms": 10, "ts": 1000, **body}
    return read(parse(f"fs1/up/{node}/{path}"), encode(content))  # type: ignore[arg-type] # an Up


def sample(seq: int, **more: Any) -> Arrival:
    return arrival("tel/host", seq, **{"synced": True, "dt": [0], "m": {"x": [1]}, **more})


def result(seq: int, verb: str) -> Arrival:
    return arrival(f"res/c{seq}", seq, id=f"c{seq}", verb=verb, state="succeeded", at=1)


async def test_a_failed_commit_acknowledges_nothing(desk: Desk) -> None:
    await desk.take(sample(1))
    before = len(desk.sent)
    desk.database.broken = DatabaseError("disk full")
    await desk.take(sample(2), Greeting(node="pi-1", heads={}))
    assert len(desk.sent) == before
    assert (desk.ingest.failing, desk.ingest.counts.failed_groups > 0) == (True, True)
    desk.database.broken = None
    await desk.take(sample(2), sample(2))
    assert desk.acks()[-1]["metrics"]["ranges"] == [[1, 2]]
    assert not desk.ingest.failing
    assert (desk.ingest.counts.accepted, desk.ingest.counts.duplicates) == (2, 1)
    assert await desk.rows("select count(*) from telemetry_batch") == [(2,)]


async def test_what_was_sent_before_any_answer_is_left_until_it_comes_again(desk: Desk) -> None:
    """It was under way when the center came; taken, it would make the node's disk look like an older one."""
    birth = Greeting(
        node="pi-1", heads={"metrics": StreamHead(epoch=EPOCH, head=0, records=1)}, new_boot=True
    )
    await desk.take(sample(1, unanswered=True), arrival("tel/host", 2, unanswered=True), birth)
    (answer,) = desk.acks()
    assert (answer["metrics"]["ranges"], answer["metrics"]["head"]) == ([], 0)
    assert await desk.rows("select 1 from event where kind = 'stream.behind'") == []
    assert (desk.ingest.counts.unanswered, desk.ingest.counts.accepted) == (2, 0)
    await desk.take(sample(1))
    assert desk.acks()[-1]["metrics"]["ranges"] == [[1, 1]]
    assert desk.ingest.counts.accepted == 1


async def test_a_birth_that_could_not_be_committed_is_remembered(desk: Desk) -> None:
    """Nobody says it again unasked, so its node is to be asked."""
    desk.database.broken = DatabaseError("disk full")
    greeting = Greeting(node="pi-1", heads={"metrics": StreamHead(epoch=EPOCH, head=3)})
    await desk.take(greeting, sample(1, node="pi-2"))
    assert desk.ingest.unanswered == {"pi-1"}
    assert not desk.sent
    desk.database.broken = None
    await desk.take(greeting)
    assert not desk.ingest.unanswered
    assert desk.acks()[-1]["metrics"]["head"] == 3


async def test_a_database_that_became_read_only(desk: Desk, tmp_path: Path) -> None:
    """SQLite itself refuses; the group is not acknowledged and comes again."""
    await desk.take(sample(1))
    await desk.database.write(lambda c: c.execute(text("PRAGMA query_only=ON")))
    sent = len(desk.sent)
    await desk.take(sample(2))
    assert len(desk.sent) == sent
    # After a failure the writer opens a new connection, which may write.
    await desk.take(sample(2))
    assert desk.acks()[-1]["metrics"]["ranges"] == [[1, 2]]
    assert await desk.rows("select count(*) from telemetry_batch") == [(2,)]


async def test_a_record_that_nobody_foresaw_takes_no_other_along(desk: Desk) -> None:
    """It is refused with a line in the ledger; its group is stored, and the loop goes on."""
    await desk.take(result(1, "ping"), result(2, "poison"), sample(1), result(3, "ping"))
    assert any(ack.get("results", {}).get("ranges") == [[1, 3]] for ack in desk.acks())
    assert await desk.rows("select first, last, reason from stream_loss") == [
        (2, 2, "refused by the center: not_storable")
    ]
    assert desk.rejected.counts["not_storable"] == 1
    assert desk.ingest.counts.accepted == 3


async def test_a_load_that_is_overtaken_does_not_turn_the_books_back(desk: Desk) -> None:
    """A time exchange and a record both load the node: no record may be stored twice."""
    await desk.take(sample(1))
    desk.ingest._shelf.forget({"pi-1"})
    held = desk.database.held = asyncio.Event()
    request = TimeRequest(boot="b", up_ms=5, ts=0)
    exchange = asyncio.create_task(desk.ingest.exchanged_time("pi-1", request))
    await until(lambda: desk.database.held is None, "the first load")
    await desk.ingest.submit(sample(2))
    settling = asyncio.create_task(desk.ingest.drained())
    await asyncio.wait([settling], timeout=0.2)  # it may only be settled after the exchange
    held.set()
    await exchange
    await settling
    await desk.take(sample(2))
    assert await desk.rows("select count(*) from telemetry_batch") == [(2,)]
    assert desk.ingest.counts.duplicates == 1


async def test_the_clock_of_a_boot_outlives_the_center(tmp_path: Path) -> None:
    async with at_work(tmp_path / "center.db") as desk:
        await desk.ingest.exchanged_time("pi-1", TimeRequest(boot="b", up_ms=10, ts=0))
        base_ms = desk.clock.now_ms() - 10
    shutil.copy(tmp_path / "center.db", tmp_path / "again.db")
    (tmp_path / "other").mkdir()
    shutil.move(tmp_path / "again.db", tmp_path / "other" / "center.db")
    async with at_work(tmp_path / "other" / "center.db") as desk:
        desk.clock.advance(3600)
        await desk.take(sample(1, synced=False, up_ms=2000), sample(2, synced=False, boot="other"))
        rows = [tuple(row) for row in await desk.rows(DATES)]
        assert rows == [(base_ms + 2000, 0), (desk.clock.now_ms(), 1)]


async def test_clocks_of_old_boots_are_given_up(desk: Desk) -> None:
    for i in range(store.BOOTS_KEPT + 5):
        desk.clock.advance(60)
        await desk.ingest.exchanged_time("pi-1", TimeRequest(boot=f"b{i}", up_ms=10, ts=0))
    assert await desk.rows("select count(*) from boot_clock") == [(store.BOOTS_KEPT,)]
    assert await desk.rows("select boot from boot_clock where boot = 'b0'") == []
    assert len(desk.ingest._shelf._clocks["pi-1"]) == store.BOOTS_KEPT


async def test_a_time_beyond_every_calendar_is_dated_by_its_receipt(desk: Desk) -> None:
    """The boot's clock is placed, and a record says that it is 200,000 years old."""
    await desk.ingest.exchanged_time("pi-1", TimeRequest(boot="b", up_ms=10, ts=0))
    await desk.take(sample(1, synced=False, up_ms=2**53 - 1))
    assert desk.rejected.counts == {"clock": 1}
    assert [tuple(row) for row in await desk.rows(DATES)] == [(desk.clock.now_ms(), 1)]


async def test_a_boot_is_placed_though_its_clock_could_not_be_saved(desk: Desk) -> None:
    """Known at once, and saved by the next exchange, though that tells nothing new."""
    request = TimeRequest(boot="b", up_ms=10, ts=0)
    desk.database.broken = DatabaseError("disk full")
    with pytest.raises(DatabaseError):
        await desk.ingest.exchanged_time("pi-1", request)
    desk.database.broken = None
    base_ms = desk.clock.now_ms() - 10
    await desk.take(sample(1, synced=False, up_ms=2000))
    assert [tuple(row) for row in await desk.rows(DATES)] == [(base_ms + 2000, 0)]
    assert await desk.rows("select boot from boot_clock") == []
    await desk.ingest.exchanged_time("pi-1", request)
    assert [tuple(row) for row in await desk.rows("select boot from boot_clock")] == [("b",)]


async def test_what_has_no_date_is_dated_by_its_receipt_and_outlives_retention(desk: Desk) -> None:
    await desk.take(sample(1, synced=False, boot="unknown", ts=5000))
    now_ms = desk.clock.now_ms()
    assert [tuple(row) for row in await desk.rows(DATES)] == [(now_ms, 1)]
    await desk.history.tidy()
    desk.clock.advance(2 * 86_400)
    await desk.history.tidy()
    await desk.history.tidy()
    assert await desk.rows("select count(*) from telemetry_batch") == [(0,)]
    assert [tuple(row) for row in await desk.rows("select t0_ms from telemetry_chunk")] == [
        (now_ms,)
    ]


async def test_facts_from_the_backlog_do_not_replace_newer_ones(desk: Desk) -> None:
    await desk.take(arrival("rep/facts", 2, digest="new", facts={"n": 2}))
    await desk.take(arrival("rep/facts", 1, digest="old", facts={"n": 1}, ts=9_000))
    assert await desk.rows("select facts_digest from node") == [("new",)]
    assert desk.facts == ["new"]
    assert desk.ingest.counts.accepted == 2


async def test_of_facts_in_one_group_the_later_made_stay_whatever_the_clock_said(
    desk: Desk,
) -> None:
    now_ms = desk.clock.now_ms()
    old = arrival("rep/facts", 1, digest="old", facts={"n": 1}, ts=now_ms, synced=True)
    new = arrival("rep/facts", 2, digest="new", facts={"n": 2}, ts=now_ms - 2_000, synced=True)
    await desk.take(old, new)
    assert await desk.rows("select facts_digest from node") == [("new",)]
    assert desk.facts == ["new"]


async def test_two_epochs_in_one_group_are_both_acknowledged(desk: Desk) -> None:
    await desk.take(sample(1), sample(1, epoch="older"))
    assert sorted(ack["metrics"]["epoch"] for ack in desk.acks()) == sorted([EPOCH, "older"])


async def test_a_hole_is_asked_for_once_it_has_stayed_open(desk: Desk) -> None:
    """Of the current epoch alone: the disk of a past one is gone."""
    await desk.take(sample(3, epoch="past"))
    await desk.take(
        Greeting(node="pi-1", heads={"metrics": StreamHead(epoch=EPOCH, head=5)}), sample(2)
    )
    asking = asyncio.create_task(desk.ingest.run_holes(lambda: {"pi-1"}))
    book = desk.ingest._shelf.books["pi-1", "metrics", EPOCH]
    await until(lambda: book._open_since, "the first look")
    desk.sent.clear()
    desk.clock.advance(31)
    await until(lambda: desk.sent, "the question")
    asking.cancel()
    assert desk.acks() == [{"metrics": {"epoch": EPOCH, "ranges": [], "resend": [[1, 1], [3, 5]]}}]


async def test_the_drain_waits_for_what_lingers(desk: Desk) -> None:
    await desk.ingest.submit(sample(1))
    await asyncio.sleep(0)  # the loop has taken it up and waits for company
    await desk.ingest.drained()
    assert desk.ingest.counts.accepted == 1
