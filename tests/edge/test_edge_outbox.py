"""The outbox loses nothing without a line in its ledger, and never gives a seq to two records."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from edge.edge_bench import FailingDatabase, command_row, eventually, seeded_ids, timing
from farshore_edge.database import Database, SqliteDatabase
from farshore_edge.errors import RecordError
from farshore_edge.outbox import Outbox, journal
from farshore_edge.outbox.envelope import (
    _MARK_ROOM,
    as_backlog,
    as_unanswered,
    seal,
    without_marks,
)
from farshore_edge.outbox.quota import give_up
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import MAX_MESSAGE_BYTES, decode
from farshore_protocol.stream import RangeSet, Sender
from farshore_protocol.telemetry import inflate
from farshore_protocol.telemetry.batch import TelemetryBatch
from hypothesis import given
from hypothesis import strategies as st

BATCH: dict[str, Any] = {"dt": [0], "m": {"cpu.percent": [1.5]}}


class Bench:
    def __init__(
        self, database: Database, *, max_bytes: int = 2**20, retry_s: float = 0.01
    ) -> None:
        self.clock = ManualClock()
        self.database = database
        self.sender = Sender()
        self.woken = 0
        self.outbox = Outbox(
            database,
            self.sender,
            now=lambda: timing(self.clock),
            max_bytes=max_bytes,
            woken=self._wake,
            retry_s=retry_s,
        )
        self.sender.link_up()

    def _wake(self) -> None:
        self.woken += 1

    async def metric(self, **options: Any) -> int:
        return await self.outbox.append("metrics", "tel/host", BATCH, **options)

    async def event(self, text: str = "x") -> int:
        return await self.outbox.append("events", "evt/test", {"data": {"text": text}})

    def sendable(self, stream: str) -> list[int]:
        return [seq for a, b in self.sender.kept(stream) for seq in range(a, b + 1)]

    def losses(self) -> list[tuple[str, int, int, str]]:
        return [(x.stream, x.first, x.last, x.reason) for x in self.database.losses()]

    def loss_events(self) -> list[dict[str, Any]]:
        found = self.database.records("events", range(1, 1000)).values()
        return [orjson.loads(r.payload)["data"] for r in found if r.path == "evt/loss"]

    def ack(self, stream: str, first: int, last: int) -> Any:
        epoch = self.outbox.heads()[stream].epoch
        return self.outbox.acknowledged(stream, epoch, [(first, last)])


@pytest.fixture
async def disk() -> FailingDatabase:
    return FailingDatabase()


@pytest.fixture
async def bench(disk: FailingDatabase) -> AsyncIterator[Bench]:
    made = Bench(disk)
    yield made
    await made.outbox.close()


async def test_seqs_count_from_one_in_each_stream_and_go_on_after_a_restart(
    bench: Bench, disk: FailingDatabase
) -> None:
    assert [await bench.metric() for _ in range(3)] == [1, 2, 3]
    assert await bench.event() == 1
    again = Bench(disk)
    assert await again.metric() == 4
    assert again.sendable("metrics") == [1, 2, 3, 4]


async def test_a_record_wears_its_envelope(bench: Bench) -> None:
    seq = await bench.metric()
    record = bench.outbox.record("metrics", seq)
    assert record is not None
    batch = decode(TelemetryBatch, inflate(record.payload))
    assert (batch.epoch, batch.seq) == (bench.outbox.heads()["metrics"].epoch, 1)
    assert (batch.boot, batch.up_ms, batch.hist) == ("boot1", 1_000_000, False)


async def test_nothing_is_sent_or_announced_before_it_is_durable(
    bench: Bench, disk: FailingDatabase
) -> None:
    disk.gate.clear()
    writing = asyncio.create_task(bench.event())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.sendable("events") == []
    assert bench.woken == 0
    assert bench.outbox.heads()["events"].head == 0
    disk.gate.set()
    assert await writing == 1
    assert bench.sendable("events") == [1]
    assert bench.outbox.heads()["events"].head == 1
    assert bench.woken == 1


async def test_a_record_outlives_the_caller_who_is_cancelled(
    bench: Bench, disk: FailingDatabase
) -> None:
    disk.gate.clear()
    writing = asyncio.create_task(bench.event("kept"))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert disk.records("events", [1]) == {}
    disk.gate.set()
    await bench.outbox.close()
    assert bench.sendable("events") == [1]
    assert b"kept" in disk.records("events", [1])[1].payload


async def test_what_the_disk_refuses_waits_and_is_sent_in_full_later(
    bench: Bench, disk: FailingDatabase
) -> None:
    disk.commits_fail = True
    assert [await bench.metric() for _ in range(3)] == [1, 2, 3]
    row = command_row("a", "succeeded", b"{}")
    await bench.outbox.append("results", "res/a", {"id": "a"}, commands=(row,))
    assert bench.sendable("metrics") == []
    assert bench.outbox.heads()["metrics"].head == 0
    assert bench.outbox.command("a") == row, "a duplicate is answered with the newest state"
    disk.commits_fail = False
    assert await bench.metric() == 4
    await eventually(lambda: bench.sendable("metrics") == [1, 2, 3, 4])
    assert bench.sendable("results") == [1]
    assert disk.command("a") == row
    assert disk.streams()["metrics"].kept == ((1, 4),)
    assert bench.losses() == []


async def test_a_later_state_is_never_overwritten_by_one_that_waited(
    bench: Bench, disk: FailingDatabase
) -> None:
    disk.commits_fail = True
    running, done = command_row("a", "running"), command_row("a", "succeeded", b"{}")
    await bench.outbox.append("results", "res/a", {"state": "running"}, commands=(running,))
    disk.commits_fail = False
    await bench.outbox.append("results", "res/a", {"state": "succeeded"}, commands=(done,))
    assert bench.outbox.command("a") == done
    await eventually(lambda: bench.sendable("results") == [1, 2])
    assert disk.command("a") == done


async def test_at_the_end_there_is_a_last_attempt(disk: FailingDatabase) -> None:
    bench = Bench(disk, retry_s=3600)
    disk.commits_fail = True
    await bench.event()
    disk.commits_fail = False
    await bench.outbox.close()
    assert disk.streams()["events"].kept == ((1, 1),)


async def test_what_waits_in_memory_is_bounded_and_only_metrics_give_way(
    disk: FailingDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(disk)
    disk.commits_fail = True
    size = len(
        seal(BATCH, epoch="x" * 16, seq=1, timing=timing(bench.clock).fields(), compress=True)
    )
    monkeypatch.setattr(journal, "WAITING_MAX_BYTES", size * 20)
    await bench.event("kept")
    for _ in range(60):
        await bench.metric()
    disk.commits_fail = False
    await eventually(lambda: bench.sendable("metrics"))
    lost = RangeSet((first, last) for _, first, last, _ in bench.losses())
    kept = RangeSet((seq, seq) for seq in bench.sendable("metrics"))
    assert len(lost) + len(kept) == 60
    assert not any(kept.within(*part) for part in lost)
    assert {reason for *_, reason in bench.losses()} == {"disk"}
    assert bench.outbox.queues()["metrics"].bytes == disk.streams()["metrics"].bytes
    assert b"kept" in disk.records("events", [1])[1].payload


async def test_what_can_never_travel_takes_no_seq(bench: Bench) -> None:
    with pytest.raises(RecordError, match="bytes, expected"):
        await bench.event("x" * MAX_MESSAGE_BYTES)
    with pytest.raises(RecordError, match="JSON"):
        await bench.outbox.append("events", "evt/test", {"data": {"n": 2**70}})
    assert await bench.event() == 1


# Acknowledgements


async def test_what_is_acknowledged_is_deleted_and_the_bytes_are_exact(
    bench: Bench, disk: FailingDatabase
) -> None:
    for n in range(1, 30):
        await bench.event("x" * n * 7)
    await bench.ack("events", 3, 20)
    assert disk.streams()["events"].kept == ((1, 2), (21, 29))
    assert bench.outbox.queues()["events"].bytes == disk.streams()["events"].bytes
    assert bench.outbox.queues()["events"].records == 11


async def test_an_acknowledgement_of_another_epoch_deletes_nothing(
    bench: Bench, disk: FailingDatabase
) -> None:
    await bench.event()
    await bench.outbox.acknowledged("events", "another", [(1, 5)])
    await bench.outbox.acknowledged("gossip", "another", [(1, 5)])
    assert disk.streams()["events"].kept == ((1, 1),)


async def test_a_deletion_that_fails_is_made_up_for(bench: Bench, disk: FailingDatabase) -> None:
    await bench.event()
    disk.commits_fail = True
    await bench.ack("events", 1, 1)
    disk.commits_fail = False
    await eventually(lambda: disk.streams()["events"].kept == ())
    assert bench.outbox.queues()["events"].bytes == 0


async def test_what_the_center_asks_for_in_vain_is_declared_lost_once(bench: Bench) -> None:
    for _ in range(5):
        await bench.metric()
    await bench.ack("metrics", 1, 4)
    for _ in range(3):  # it asks until it has heard the answer
        await bench.outbox.declare_lost("metrics", [(2, 3)], "not kept any more")
    assert bench.losses() == [("metrics", 2, 3, "not kept any more")]
    epoch = bench.outbox.heads()["metrics"].epoch
    assert bench.loss_events() == [
        {"stream": "metrics", "epoch": epoch, "range": [2, 3], "reason": "not kept any more"}
    ]
    await bench.ack("events", 1, 1)
    await bench.outbox.declare_lost("metrics", [(2, 3)], "not kept any more")
    assert len(bench.losses()) == 2, "a center that has forgotten it is told again"


async def test_a_record_that_waits_for_its_disk_is_not_lost(
    bench: Bench, disk: FailingDatabase
) -> None:
    disk.commits_fail = True
    await bench.metric()
    await bench.outbox.declare_lost("metrics", [(1, 1)], "not kept any more")
    disk.commits_fail = False
    await eventually(lambda: bench.sendable("metrics") == [1])
    assert bench.losses() == []


# Quota


async def _fill(bench: Bench, count: int) -> None:
    values = random.Random(5)
    for _ in range(count):
        body = {"dt": [0], "m": {"noise": [values.random() for _ in range(60)]}}
        await bench.outbox.append("metrics", "tel/host", body)


async def test_the_oldest_metrics_give_way_in_the_ledger_and_in_an_event(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    bench = Bench(database, max_bytes=40_000)
    await bench.event("first")
    await _fill(bench, 120)
    kept, lost = bench.sendable("metrics"), RangeSet()
    for stream, first, last, reason in bench.losses():
        assert (stream, reason) == ("metrics", "thinned")
        assert lost.add(first, last) == last - first + 1, "declared lost twice"
    assert lost.pairs() == [(1, kept[0] - 1)]
    assert kept[-1] == 120
    told = RangeSet((data["range"][0], data["range"][1]) for data in bench.loss_events())
    assert told == lost
    states = database.streams()
    assert states["metrics"].kept == ((kept[0], 120),)
    assert sum(state.bytes for state in states.values()) <= 42_000
    assert bench.outbox.queues()["metrics"].bytes == states["metrics"].bytes
    assert b"first" in database.records("events", [1])[1].payload, "events never give way"
    await bench.outbox.close()
    await database.close()


async def test_the_loss_of_the_quota_and_its_record_are_one_change(
    disk: FailingDatabase,
) -> None:
    bench = Bench(disk, max_bytes=20_000)
    disk.fails_on = lambda change: bool(change.losses)
    await _fill(bench, 40)
    assert disk.refused
    assert bench.loss_events() == []
    assert disk.losses() == []
    disk.fails_on = lambda _change: False
    await eventually(lambda: bench.losses())
    await eventually(lambda: bench.sendable("metrics")[-1:] == [40])
    lost = RangeSet((first, last) for _, first, last, _ in bench.losses())
    assert not lost.within(bench.sendable("metrics")[0], 40)
    assert disk.streams()["metrics"].bytes == bench.outbox.queues()["metrics"].bytes
    await bench.outbox.close()


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(1, 500)), max_size=8),
    st.integers(1, 10**6),
    st.integers(0, 10**6),
)
def test_what_is_given_up_is_kept_oldest_first_and_no_more_than_needed(
    drawn: list[tuple[int, int]], held: int, allowed: int
) -> None:
    kept = RangeSet((min(pair), max(pair)) for pair in drawn)
    ranges = give_up(kept.pairs(), bytes_held=held, bytes_allowed=allowed)
    gone = RangeSet(ranges)
    if held <= allowed or not kept:
        assert not gone
        return
    assert gone.within(1, 1000) == list(kept.within(1, gone.last)), "oldest first"
    left = held * (len(kept) - len(gone)) / len(kept)
    one = held / len(kept)
    assert left <= allowed + one, "enough"
    assert left >= min(allowed * 0.95, held) - one or len(gone) == 1, "and not much more"


# The mark of the backlog


@pytest.mark.parametrize("values", [1, 400], ids=["plain", "compressed"])
def test_a_marked_record_is_the_same_record(values: int) -> None:
    body = {"dt": [0], "m": {"noise": [n / 7 for n in range(values)]}}
    times = timing(ManualClock()).fields()
    payload = seal(body, epoch="e", seq=4, timing=times, compress=True)
    assert (payload[:1] == b"{") is (values == 1)
    marked = as_backlog(payload)
    before, after = (
        decode(TelemetryBatch, inflate(payload)),
        decode(TelemetryBatch, inflate(marked)),
    )
    assert after.hist
    assert (after.m, after.seq, after.dt) == (before.m, before.seq, before.dt)
    assert inflate(marked).startswith(inflate(payload)[:-1])
    both = as_unanswered(marked)
    assert decode(TelemetryBatch, inflate(both)).unanswered
    assert decode(TelemetryBatch, inflate(both)).hist
    for sent in (payload, marked, both, as_unanswered(payload)):
        assert without_marks(sent) == payload
        assert len(sent) <= len(payload) + _MARK_ROOM
