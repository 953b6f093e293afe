"""The courier carries what may be sent, when it may be sent, and sends again what got lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from edge.edge_bench import FailingDatabase, eventually, timing
from farshore_edge.outbox import Courier, Outbox
from farshore_protocol.clock import ManualClock
from farshore_protocol.link import Message
from farshore_protocol.stream import Sender, SenderSettings, StreamAck
from farshore_protocol.telemetry import inflate


class Bench:
    """A courier on an uplink that only takes note, and a clock that is turned by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.disk = FailingDatabase()
        self.sent: list[Message] = []
        self.start()

    def start(self) -> None:
        self.sender = Sender(SenderSettings(window=8, backlog_share=0.25, ack_timeout_s=15))
        self.outbox = Outbox(
            self.disk,
            self.sender,
            now=lambda: timing(self.clock),
            max_bytes=2**20,
            woken=lambda: self.courier.wake(),
            retry_s=0.01,
        )
        self.courier = Courier(
            node="n1", outbox=self.outbox, sender=self.sender, uplink=self, clock=self.clock
        )
        self.running = asyncio.create_task(self.courier.run())

    def publish(self, message: Message) -> bool:
        self.sent.append(message)
        return True

    async def events(self, count: int) -> None:
        for n in range(count):
            await self.outbox.append("events", "evt/test", {"data": {"n": n}})

    def seqs(self) -> list[int]:
        return [orjson.loads(inflate(m.payload))["seq"] for m in self.sent]

    async def ack(self, stream: str = "events", **word: Any) -> None:
        epoch = self.outbox.heads()[stream].epoch
        await self.courier.acknowledged({stream: StreamAck(epoch=epoch, **word)})
        await self.settle()

    async def greeting(self) -> None:
        await self.courier.acknowledged({})
        await self.settle()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def end(self) -> None:
        self.running.cancel()
        await asyncio.wait([self.running])
        await self.outbox.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.end()


async def test_records_wait_for_the_link_and_then_for_the_centers_first_word(bench: Bench) -> None:
    await bench.events(1)
    await bench.settle()
    assert bench.sent == []
    bench.courier.link_up()
    await bench.settle()
    assert bench.sent == [], "the center has not said yet what it holds"
    await bench.greeting()
    assert bench.seqs() == [1]
    assert bench.sent[0].topic == "fs1/up/n1/evt/test"
    assert (bench.sent[0].qos, bench.sent[0].retain) == (1, False)


async def test_what_the_greeting_acknowledges_is_not_sent_again(bench: Bench) -> None:
    await bench.events(3)
    bench.courier.link_up()
    await bench.ack(ranges=((1, 2),))
    assert bench.seqs() == [3]


async def test_a_center_that_never_greets_is_waited_for_five_seconds(bench: Bench) -> None:
    await bench.events(1)
    bench.courier.link_up()
    bench.clock.advance(4.9)
    bench.courier.wake()
    await bench.settle()
    assert bench.sent == []
    bench.clock.advance(0.2)
    bench.courier.wake()
    await bench.settle()
    assert bench.seqs() == [1]


async def test_only_what_is_older_than_the_connection_is_marked(bench: Bench) -> None:
    await bench.events(1)
    bench.courier.link_up()
    await bench.greeting()
    await bench.events(1)
    await bench.settle()
    assert [orjson.loads(m.payload).get("hist", False) for m in bench.sent] == [True, False]


async def test_the_window_is_kept_and_the_backlog_has_its_share_of_it(bench: Bench) -> None:
    await bench.events(30)
    bench.courier.link_up()
    await bench.greeting()
    assert bench.seqs() == [1, 2], "a quarter of a window of 8"
    await bench.events(30)
    await bench.settle()
    assert bench.seqs() == [1, 2, *range(31, 37)], "what is new goes past the backlog"
    await bench.ack(ranges=((1, 2), (31, 31)))
    assert sorted(bench.seqs()[8:]) == [3, 4, 37]


async def test_the_backlog_drains_without_anything_new(bench: Bench) -> None:
    await bench.events(9)
    bench.courier.link_up()
    await bench.greeting()
    for seq in range(1, 10):
        await bench.ack(ranges=((1, seq),))
    assert sorted(set(bench.seqs())) == list(range(1, 10))
    assert len(bench.seqs()) == 9
    assert bench.disk.streams()["events"].kept == ()


async def test_an_unacknowledged_record_is_sent_again(bench: Bench) -> None:
    bench.courier.link_up()
    await bench.greeting()
    await bench.events(1)
    await bench.settle()
    bench.clock.advance(15.1)
    bench.courier.wake()
    await bench.settle()
    assert bench.seqs() == [1, 1]


async def test_what_is_left_of_a_wait_is_never_less_than_a_timer_can_wait(bench: Bench) -> None:
    """Else it looks again and again until the clock has moved."""
    bench.courier.link_up()
    bench.clock.advance(5.0 - 1e-9)
    left_s = await bench.courier._carry()
    assert left_s is not None
    assert left_s >= 0.05


async def test_a_new_connection_sends_what_was_under_way_again_as_backlog(bench: Bench) -> None:
    bench.courier.link_up()
    await bench.greeting()
    await bench.events(1)
    await bench.settle()
    bench.courier.link_down()
    await bench.events(1)
    await bench.settle()
    assert bench.seqs() == [1]
    bench.courier.link_up()
    await bench.greeting()
    assert bench.seqs() == [1, 1, 2]
    assert all(orjson.loads(m.payload).get("hist") for m in bench.sent[1:])


async def test_records_wait_while_the_center_is_away_and_are_sent_again_when_it_is_back(
    bench: Bench,
) -> None:
    bench.courier.link_up()
    await bench.greeting()
    await bench.events(1)
    await bench.settle()
    bench.courier.center_is(online=False)
    await bench.events(1)
    await bench.settle()
    assert bench.seqs() == [1]
    bench.courier.center_is(online=True)
    await bench.greeting()
    assert bench.seqs() == [1, 1, 2], "what was under way died with the center's session"


async def test_a_new_connection_forgets_that_the_center_was_away(bench: Bench) -> None:
    bench.courier.center_is(online=False)
    await bench.events(1)
    bench.courier.link_up()
    await bench.greeting()
    assert bench.seqs() == [1]


async def test_what_is_asked_for_again_is_sent_again_or_declared_lost(bench: Bench) -> None:
    bench.courier.link_up()
    await bench.greeting()
    await bench.events(3)
    await bench.ack(ranges=((1, 1),))
    await bench.ack(resend=((1, 3),))
    assert sorted(bench.seqs()[3:]) == [2, 3, 4], "2 and 3 again, and the event about 1"
    [loss] = bench.disk.losses()
    assert (loss.stream, loss.first, loss.last, loss.reason) == (
        "events",
        1,
        1,
        "not kept any more",
    )


async def test_a_record_that_the_disk_has_lost_or_spoilt_is_declared_and_the_rest_goes_on(
    bench: Bench,
) -> None:
    for _ in range(3):
        body = {"dt": [0], "m": {"noise": [n / 7 for n in range(400)]}}
        await bench.outbox.append("metrics", "tel/host", body)
    held = bench.disk.inner._records["metrics"]  # type: ignore[attr-defined] # spoilt on purpose
    good = held[2]
    held[2] = type(good)(stream="metrics", seq=2, path=good.path, payload=good.payload[:-9])
    del held[1]
    await bench.end()
    bench.start()
    bench.courier.link_up()
    await bench.greeting()
    await bench.ack(stream="metrics")
    reasons = {loss.first: loss.reason for loss in bench.disk.losses()}
    # The heads were read anew: 1 is not even known to be missing until it is asked for.
    assert reasons == {2: "damaged in the outbox"}
    assert 3 in bench.seqs()


async def test_a_disk_that_cant_be_read_now_costs_time_and_no_record(bench: Bench) -> None:
    await bench.events(70)  # more than are cached
    bench.courier.link_up()
    bench.disk.reads_fail = True
    await bench.greeting()
    assert bench.sent == []
    assert not bench.running.done()
    bench.disk.reads_fail = False
    bench.clock.advance(15.1)
    bench.courier.wake()
    await bench.settle()
    assert bench.seqs() == [1, 2]
    assert bench.disk.losses() == []


async def test_a_record_that_comes_while_losses_are_written_is_not_overslept(bench: Bench) -> None:
    await bench.events(1)
    bench.disk.inner._records["events"].clear()  # type: ignore[attr-defined] # lost by the disk
    bench.outbox._durable.recent.clear()
    bench.courier.link_up()
    bench.disk.gate.clear()
    await bench.greeting()
    bench.disk.gate.set()
    await eventually(lambda: bench.seqs() == [2])


async def test_drained_says_whether_everything_arrived(bench: Bench) -> None:
    assert await bench.courier.drained(10)
    await bench.events(1)
    assert not await bench.courier.drained(10), "no link: nobody to wait for"
    bench.courier.link_up()
    await bench.greeting()
    draining = asyncio.create_task(bench.courier.drained(10))
    await bench.settle()
    assert not draining.done()
    await bench.ack(ranges=((1, 1),))
    assert await draining


async def test_drained_does_not_wait_on_a_link_that_is_gone(bench: Bench) -> None:
    await bench.events(1)
    bench.courier.link_up()
    draining = asyncio.create_task(bench.courier.drained(60))
    await bench.settle()
    bench.courier.link_down()
    async with asyncio.timeout(5):
        assert not await draining
