"""Metrics stay in memory while the link is good, and nothing is lost or given out twice by that."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from edge.edge_bench import FailingDatabase, eventually, seeded_ids, timing
from farshore_center.ingest.arrival import loss_word, read
from farshore_center.ingest.sinks import events_write
from farshore_edge.database import Change, MemoryDatabase, SqliteDatabase
from farshore_edge.outbox import BufferSettings, Outbox, Quota
from farshore_edge.outbox import room as room_module
from farshore_protocol.clock import ManualClock
from farshore_protocol.codec import MAX_MESSAGE_BYTES
from farshore_protocol.messages import Event
from farshore_protocol.stream import Book, RangeSet, Sender
from farshore_protocol.telemetry import inflate
from farshore_protocol.telemetry.batch import columns
from farshore_protocol.topics import Up, parse
from farshore_sim.hardware import SimulatedHardware

BATCH: dict[str, Any] = {"dt": [0], "m": {"cpu.percent": [1.5]}}
DIED = "agent died; at most these"


class Bench:
    """An outbox on a disk that counts its commits."""

    def __init__(self, database: Any, **options: Any) -> None:
        self.clock = ManualClock()
        self.disk = database
        self.sender = Sender()
        settings = {"max_bytes": 2**30, "retry_s": 0.01, "draw_epoch": seeded_ids(9).epoch}
        self.outbox = Outbox(
            database,
            self.sender,
            now=lambda: timing(self.clock),
            woken=lambda: None,
            **{**settings, **options},
        )

    def link(self, *, good: bool) -> None:
        if good:
            self.sender.link_up()
        else:
            self.sender.link_down()
        self.outbox.link_is(good=good)

    async def metric(self, body: dict[str, Any] = BATCH) -> int:
        return await self.outbox.append("metrics", "tel/host", body)

    async def ack(self, first: int, last: int, stream: str = "metrics") -> None:
        epoch = self.outbox.heads()[stream].epoch
        await self.outbox.acknowledged(stream, epoch, [(first, last)])

    def on_disk(self) -> list[int]:
        return [s for a, b in self.disk.streams()["metrics"].kept for s in range(a, b + 1)]

    def losses(self) -> list[tuple[str, int, int, str]]:
        return [(x.stream, x.first, x.last, x.reason) for x in self.disk.losses()]

    def events(self, path: str) -> list[dict[str, Any]]:
        records = self.disk.records("events", range(1, 100_000))
        return [
            orjson.loads(inflate(r.payload))["data"] for r in records.values() if r.path == path
        ]


class CountingDatabase(FailingDatabase):
    def __init__(self, inner: Any = None) -> None:
        super().__init__(inner)
        self.commits = 0

    async def commit(self, change: Change) -> Any:
        self.commits += 1
        return await super().commit(change)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(CountingDatabase())
    yield made
    await made.outbox.close()


async def test_a_healthy_link_costs_one_write_for_a_block_of_records(bench: Bench) -> None:
    bench.link(good=True)
    for n in range(1, 641):
        assert await bench.metric() == n
        await bench.ack(n, n)
    assert bench.disk.commits <= 11, "one of them for the block that comes next"
    assert bench.on_disk() == []
    assert bench.losses() == []
    assert bench.outbox.queues()["metrics"].bytes == 0


async def test_a_record_in_memory_is_there_to_be_sent_and_announced(bench: Bench) -> None:
    bench.link(good=True)
    await bench.metric()
    assert bench.on_disk() == []
    assert [pick.seq for pick in bench.sender.next(0)] == [1]
    record = bench.outbox.record("metrics", 1)
    assert record is not None
    assert orjson.loads(record.payload)["m"] == BATCH["m"]
    assert bench.outbox.heads()["metrics"].head == 1


async def test_when_the_link_goes_everything_is_written_and_the_reservation_given_back(
    bench: Bench,
) -> None:
    bench.link(good=True)
    for _ in range(3):
        await bench.metric()
    await bench.ack(2, 2)
    bench.link(good=False)
    assert await bench.metric() == 4
    await eventually(lambda: bench.on_disk() == [1, 3, 4])
    state = bench.disk.streams()["metrics"]
    assert (state.head, state.reserved) == (4, 4), "a crash now loses nothing"
    assert bench.outbox.queues()["metrics"].bytes == state.bytes


async def test_what_is_unacknowledged_for_too_long_is_written(bench: Bench) -> None:
    bench.link(good=True)
    await bench.metric()
    assert bench.outbox.spill_in_s() == 30.0
    bench.clock.advance(29)
    await bench.metric()
    assert bench.outbox.spill_in_s() == 1.0
    bench.outbox.spill()
    await eventually(lambda: bench.on_disk() == [1, 2])
    assert bench.outbox.spill_in_s() is None
    await bench.ack(1, 2)
    assert bench.on_disk() == []


async def test_an_acknowledgement_that_meets_a_record_on_its_way_to_the_disk(
    bench: Bench,
) -> None:
    bench.link(good=True)
    await bench.metric()
    bench.disk.gate.clear()
    bench.outbox.spill()
    acknowledging = asyncio.create_task(bench.ack(1, 1))
    for _ in range(5):
        await asyncio.sleep(0)
    bench.disk.gate.set()
    await acknowledging
    await eventually(lambda: bench.on_disk() == [])
    assert bench.outbox.queues()["metrics"].bytes == 0
    assert bench.outbox.queues()["metrics"].records == 0


async def test_an_orderly_stop_writes_what_is_in_memory_and_the_exact_head(bench: Bench) -> None:
    bench.link(good=True)
    for _ in range(5):
        await bench.metric()
    await bench.outbox.close()
    state = bench.disk.streams()["metrics"]
    assert (state.head, state.reserved, state.kept) == (5, 5, ((1, 5),))
    again = Bench(bench.disk)
    await again.outbox.recover()
    assert again.losses() == []
    assert await again.metric() == 6


async def test_after_a_crash_what_was_at_risk_is_declared_and_no_more_than_was_reserved(
    bench: Bench,
) -> None:
    bench.link(good=True)
    for n in range(1, 101):  # with the third block, what was kept before is on the disk
        await bench.metric()
        if n != 60:
            await bench.ack(n, n)
    await bench.outbox.written()
    again = Bench(bench.disk)
    await again.outbox.recover()
    [(stream, first, last, reason)] = again.losses()
    assert (stream, reason) == ("metrics", DIED)
    assert (first, last) == (98, 192), "one and a half blocks, less one record"
    assert again.on_disk() == [60]
    assert [e["range"] for e in again.events("evt/loss")] == [[98, 192]]
    assert await again.metric() == 193
    third = Bench(bench.disk)
    await third.outbox.recover()
    assert len(third.losses()) == 1, "declared once"
    await again.outbox.close()


async def test_the_next_block_is_reserved_while_records_go_on(bench: Bench) -> None:
    bench.link(good=True)
    for n in range(1, 34):
        assert await bench.metric() == n
        await bench.ack(n, n)
    bench.disk.gate.clear()
    for n in range(34, 65):
        assert await asyncio.wait_for(bench.metric(), 1) == n
    beyond = [asyncio.create_task(bench.metric()) for _ in range(100)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert not any(task.done() for task in beyond), "no seq before its reservation is durable"
    assert bench.outbox.heads()["metrics"].head == 64
    bench.disk.gate.set()
    assert [await task for task in beyond] == list(range(65, 165)), "not one in another epoch"
    assert bench.disk.streams()["metrics"].reserved >= 164


async def test_a_link_that_goes_while_a_block_is_reserved_gives_it_back(bench: Bench) -> None:
    bench.link(good=True)
    bench.disk.gate.clear()
    making = asyncio.create_task(bench.metric())
    await asyncio.sleep(0)
    bench.link(good=False)
    bench.disk.gate.set()
    assert await making == 1
    state = bench.disk.streams()["metrics"]
    assert (state.head, state.reserved, state.kept) == (1, 1, ((1, 1),))


async def test_a_reservation_that_failed_does_not_take_back_a_later_one(bench: Bench) -> None:
    bench.link(good=True)
    for n in range(1, 34):
        await bench.metric()
        await bench.ack(n, n)
    failed: list[Change] = []

    def first_fails(change: Change) -> bool:
        if change.marks and not failed:
            failed.append(change)
            return True
        return False

    bench.disk.fails_on = first_fails
    bench.disk.gate.clear()
    for _ in range(34, 65):
        await bench.metric()
    bench.link(good=False)
    bench.link(good=True)
    bench.outbox._durable.start(bench.outbox._held.take(80))
    await asyncio.sleep(0)
    bench.disk.gate.set()
    await bench.outbox.written()
    await eventually(lambda: bench.outbox.outage() is None)
    assert failed
    assert bench.disk.streams()["metrics"].reserved == 144
    for n in range(65, 145):
        assert await bench.metric() == n
        assert bench.disk.streams()["metrics"].reserved >= n


async def test_with_0_seconds_every_record_is_durable_before_it_is_sent() -> None:
    bench = Bench(CountingDatabase(), buffer=BufferSettings(spill_after_s=0))
    bench.link(good=True)
    bench.disk.gate.clear()
    writing = asyncio.create_task(bench.metric())
    await asyncio.sleep(0)
    assert bench.sender.next(0) == []
    bench.disk.gate.set()
    await writing
    assert bench.on_disk() == [1]
    await bench.outbox.close()


@pytest.mark.parametrize("seed", range(12))
async def test_no_seq_is_given_out_twice_and_the_books_add_up(seed: int) -> None:
    """Crashes at any moment, a link that comes and goes, a center that acknowledges some."""
    rng = random.Random(seed)
    inner = MemoryDatabase(seeded_ids(seed))
    book, seen = Book(), dict[int, bytes]()
    for _life in range(8):
        bench = Bench(FailingDatabase(inner))
        await bench.outbox.recover()
        for step in range(rng.randrange(5, 150)):
            match rng.randrange(9):
                case 0:
                    bench.link(good=rng.random() < 0.7)
                case 1:
                    bench.disk.gate.clear()
                case 2 | 3:
                    bench.disk.gate.set()
                case 4:
                    bench.outbox.spill()
                case 5:
                    low, high = random_part(book, rng)
                    task = asyncio.create_task(bench.ack(low, high))
                    task.add_done_callback(lambda done: done.cancelled() or done.exception())
                case _:
                    body = {"dt": [0], "m": {"n": [rng.random()]}}
                    made = asyncio.create_task(bench.metric(body))
                    made.add_done_callback(lambda done: done.cancelled() or done.exception())
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            _arrive(bench, book, seen, rng, now_s=step * 20.0)
        if rng.random() < 0.3:
            bench.disk.gate.set()
            await bench.outbox.close()
        # A crash: what is under way never reaches the disk.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
    last = Bench(inner)
    await last.outbox.recover()
    last.link(good=True)
    for step in range(2000):
        if last.sender.idle():
            break
        _arrive(last, book, seen, random.Random(1), now_s=step * 200.0, sure=True)
        for stream, head in last.outbox.heads().items():
            ranges = book.settled().pairs() if stream == "metrics" else [(1, head.head)]
            if ranges and ranges[-1][1]:
                await last.outbox.acknowledged(stream, head.epoch, ranges)
    book.announce(last.outbox.heads()["metrics"].head)
    assert book.holes() == []
    assert len(book.accepted) > 20
    await last.outbox.close()


def random_part(book: Book, rng: random.Random) -> tuple[int, int]:
    """A range of what the center has, and may acknowledge."""
    ranges = book.settled().pairs() or [(10**9, 10**9)]
    return rng.choice(ranges)


def _arrive(
    bench: Bench,
    book: Book,
    seen: dict[int, bytes],
    rng: random.Random,
    *,
    now_s: float,
    sure: bool = False,
) -> None:
    for pick in bench.sender.next(now_s):
        record = bench.outbox.record(pick.stream, pick.seq)
        if record is None or (not sure and rng.random() < 0.3):
            continue
        word = orjson.loads(inflate(record.payload))
        if pick.stream == "metrics":
            assert seen.setdefault(pick.seq, record.payload) == record.payload, "given out twice"
            book.accept(pick.seq)
        elif record.path == "evt/loss" and word["data"]["stream"] == "metrics":
            book.declare_lost(*word["data"]["range"])


# Giving way


async def _hours(bench: Bench, hours: float, per_batch_s: int = 60, series: int = 20) -> int:
    rng, count = random.Random(4), int(hours * 3600 / per_batch_s)
    for _ in range(count):
        body = {"dt": [0], "m": {f"s{n}": [rng.random()] for n in range(series)}}
        await bench.metric(body)
        bench.clock.advance(per_batch_s)
    return count


async def test_metrics_are_thinned_the_oldest_first_and_nothing_is_dropped(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    bench = Bench(database, max_bytes=200_000)
    count = await _hours(bench, 24)
    kept = RangeSet(database.streams()["metrics"].kept)
    lost = RangeSet((a, b) for stream, a, b, _ in bench.losses() if stream == "metrics")
    assert {reason for *_, reason in bench.losses()} == {"thinned"}
    assert lost.last < kept.first, "never a newer one before an older one"
    assert lost.missing(1, kept.first - 1) == []
    assert kept.pairs() == [(kept.first, count)]
    remains = [word for word in bench.events("evt/loss") if word["stream"] == "metrics"]
    counted = sum(word["series"]["s0"][0] for word in remains)
    assert counted == len(lost), "every sample that is gone is counted in what remains"
    total = sum(state.bytes for state in database.streams().values())
    assert total <= 210_000
    await bench.outbox.close()
    await database.close()


async def test_summaries_become_coarser_before_they_crowd_out_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "SUMMARIES_SHARE", 0.05)
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    bench = Bench(database, max_bytes=100_000)
    count = await _hours(bench, 48)
    told = bench.events("evt/loss")
    remains = [word for word in told if word["stream"] == "metrics"]
    assert {3600} <= {word["period_s"] for word in remains}
    covered = RangeSet((w["range"][0], w["range"][1]) for w in remains)
    kept = RangeSet(database.streams()["metrics"].kept)
    assert covered.missing(1, kept.first - 1) == []
    assert not any(kept.within(*part) for part in covered)
    counted = sum(word["series"]["s0"][0] for word in remains)
    assert counted == len(covered), "no sample is counted twice"
    assert len(kept) + len(covered) == count
    gone = RangeSet((w["range"][0], w["range"][1]) for w in told if w["stream"] == "events")
    here = RangeSet(database.streams()["events"].kept)
    assert len(gone) + len(here) == database.streams()["events"].head, "the books of events add up"
    assert all(len(r.payload) < MAX_MESSAGE_BYTES for r in _records(database, "events"))
    await bench.outbox.close()
    await database.close()


def _records(database: SqliteDatabase, stream: str) -> list[Any]:
    return list(database.records(stream, range(1, 100_000)).values())


async def test_the_center_takes_and_keeps_what_remains(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    bench = Bench(database, max_bytes=200_000)
    await _hours(bench, 6, series=60)
    records = [r for r in _records(database, "events") if r.path == "evt/loss"]
    assert any(not record.payload.startswith(b"{") for record in records), "compressed"
    for record in records:
        topic = parse(f"fs1/up/n1/{record.path}")
        assert isinstance(topic, Up)
        arrival = read(topic, record.payload)
        assert arrival.fault is None
        assert isinstance(arrival.body, Event)
        word = loss_word(arrival.body)
        assert word.reason == "thinned"
        if word.stream == "events":
            continue  # a finer summary, whose place a coarser one has taken
        [draft] = events_write([(arrival, 0, False)], None)(None)  # type: ignore[arg-type] # unused
        assert draft.data["series"]["s0"][0] >= 1
    await bench.outbox.close()
    await database.close()


@pytest.mark.parametrize("stream", ["results", "events", "reports"])
async def test_other_streams_have_bounds_of_their_own_and_never_without_a_word(
    stream: str,
) -> None:
    quotas = {stream: Quota(max_bytes=2**20, max_records=50, max_age_s=10**9)}
    bench = Bench(FailingDatabase(), quotas=quotas)
    for n in range(120):
        await bench.outbox.append(stream, "evt/x", {"data": {"n": n}})
    state = bench.disk.streams()[stream]
    kept = RangeSet(state.kept)
    lost = RangeSet((a, b) for name, a, b, _ in bench.losses() if name == stream)
    assert len(kept) <= 52
    assert not any(kept.within(*part) for part in lost)
    kept.update(lost)
    assert kept.pairs() == [(1, state.head)]
    await bench.outbox.close()


async def test_old_metrics_are_thinned_once_both_clocks_are_checked() -> None:
    quotas = {"metrics": Quota(max_bytes=2**30, max_records=10**6, max_age_s=3600)}
    bench = Bench(FailingDatabase(), quotas=quotas)
    synced = False

    def now() -> Any:
        at = timing(bench.clock)
        return type(at)(boot=at.boot, up_ms=at.up_ms, ts=at.ts, synced=synced)

    bench.outbox._now = now
    bench.outbox._room._now = now
    synced = True
    await _hours(bench, 1)
    synced = False
    bench.clock.advance(7200)
    await bench.metric()
    assert bench.losses() == [], "a clock that may be wrong throws nothing away"
    synced = True
    bench.clock.advance(601)
    await bench.metric()
    assert bench.disk.losses()[0].first == 1
    assert {reason for *_, reason in bench.losses()} == {"thinned"}
    assert len(bench.on_disk()) == 2
    await bench.outbox.close()


@pytest.mark.parametrize("profile", ["industrial-gateway", "gpu-box"])
async def test_a_day_without_a_link_fits_in_64_mib(tmp_path: Path, profile: str) -> None:
    now_s = [1000.0]
    machine = SimulatedHardware(node="n1", seed=3, now_s=lambda: now_s[0], profile=profile)
    collectors = machine.collectors()
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    bench = Bench(database)
    pending: list[Any] = []
    for number in range(8640):
        samples: list[dict[str, float]] = []
        for _ in range(2):
            sample: dict[str, float] = {}
            for collector in collectors:
                sample.update(collector.sample())
            samples.append(sample)
            now_s[0] += 5
        pending.append({"dt": [0, 5000], "m": columns(samples)})
        if number % 240 == 239:  # the size on the disk is the same, the syncs are fewer
            await bench.outbox.append_many("metrics", "tel/host", pending)
            pending.clear()
    assert database.streams()["metrics"].kept == ((1, 8640),)
    size = _size(tmp_path)
    assert size <= 32 * 1024 * 1024, f"{size / 2**20:.1f} MiB"
    await bench.outbox.close()
    await database.close()


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
