"""Metrics stay in memory while the link is good, and nothing is lost or given out twice by that."""

import asyncio
import random
from collections.abc import AsyncIterator

import orjson
import pytest
from edge.buffer_bench import BATCH, Bench, CountingDatabase
from edge.edge_bench import FailingDatabase, eventually, seeded_ids
from farshore_edge.database import Change, MemoryDatabase
from farshore_edge.outbox import BufferSettings
from farshore_protocol.stream import Book
from farshore_protocol.telemetry import inflate

DIED = "agent died; at most these"


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
