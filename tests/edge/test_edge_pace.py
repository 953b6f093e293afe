"""The node keeps to the pace that the center asks for."""

import asyncio
import random
from collections.abc import AsyncIterator

import orjson
import pytest
from edge.edge_bench import FailingDatabase, timing
from farshore_edge.outbox import Courier, Outbox
from farshore_edge.outbox.pace import Pace
from farshore_protocol.clock import ManualClock
from farshore_protocol.link import Message
from farshore_protocol.stream import Sender, StreamAck
from farshore_protocol.telemetry import inflate
from hypothesis import given
from hypothesis import strategies as st


@given(st.floats(0.1, 50), st.lists(st.tuples(st.floats(0, 3), st.integers(0, 40)), max_size=40))
def test_never_more_than_the_rate_and_a_seconds_worth(
    rate: float, steps: list[tuple[float, int]]
) -> None:
    pace, now_s, sent = Pace(), 100.0, 0
    pace.wished(rate=rate, hold_s=None, now_s=now_s)
    for wait_s, wanted in steps:
        now_s += wait_s
        allowed = pace.allowed(now_s)
        assert allowed is not None
        count = min(wanted, allowed)
        pace.sent(count)
        sent += count
        assert sent <= max(1.0, rate) + rate * (now_s - 100.0) + 1e-6
    wait_s = pace.next_in_s(now_s)
    assert (pace.allowed(now_s + wait_s + 1e-6) or 0) >= 1, "what is waited for comes"


def test_without_a_wish_nothing_is_held_back_and_a_wish_can_be_taken_back() -> None:
    pace = Pace()
    assert pace.allowed(0) is None
    assert pace.backlog_in_s(0) == 0
    pace.wished(rate=2, hold_s=10, now_s=0)
    pace.connected(0, 0.5)
    assert (pace.allowed(0), pace.backlog_in_s(0), pace.backlog_in_s(5)) == (2, 5, 0)
    pace.wished(rate=None, hold_s=None, now_s=0)
    assert (pace.allowed(0), pace.backlog_in_s(0)) == (None, 0)


class Bench:
    def __init__(self, share: float) -> None:
        self.clock = ManualClock()
        self.sent: list[Message] = []
        sender = Sender()
        self.outbox = Outbox(
            FailingDatabase(),
            sender,
            now=lambda: timing(self.clock),
            max_bytes=2**20,
            woken=lambda: self.courier.wake(),
        )
        self.courier = Courier(
            node="n1",
            outbox=self.outbox,
            sender=sender,
            uplink=self,
            clock=self.clock,
            spread=lambda: share,
        )
        self.running = asyncio.create_task(self.courier.run())

    def publish(self, message: Message) -> bool:
        self.sent.append(message)
        return True

    async def events(self, count: int) -> None:
        for n in range(count):
            await self.outbox.append("events", "evt/test", {"data": {"n": n}})

    async def later(self, seconds: float) -> list[int]:
        """What has been sent by then."""
        self.clock.advance(seconds)
        self.courier.wake()
        for _ in range(20):
            await asyncio.sleep(0)
        return [orjson.loads(inflate(m.payload))["seq"] for m in self.sent]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench(random.Random(1).uniform(0.4, 0.6))
    yield made
    made.running.cancel()
    await asyncio.wait([made.running])
    await made.outbox.close()


async def test_the_backlog_waits_its_share_of_the_hold_and_live_records_go_at_once(
    bench: Bench,
) -> None:
    await bench.events(2)
    bench.courier.link_up()
    bench.courier.center_wishes(rate=None, hold_s=100)
    await bench.courier.acknowledged({})
    await bench.events(1)
    assert await bench.later(1) == [3]
    epoch = bench.outbox.heads()["events"].epoch
    await bench.courier.acknowledged({"events": StreamAck(epoch=epoch, ranges=((3, 3),))})
    assert await bench.later(38) == [3]
    assert await bench.later(22) == [3, 1, 2]


async def test_records_go_at_the_rate_that_the_center_asks_for(bench: Bench) -> None:
    bench.courier.center_wishes(rate=2, hold_s=None)
    bench.courier.link_up()
    await bench.courier.acknowledged({})
    await bench.events(9)
    assert await bench.later(0) == [1, 2]
    assert await bench.later(0.6) == [1, 2, 3]
    assert await bench.later(1) == [1, 2, 3, 4, 5]
    bench.courier.center_wishes(rate=None, hold_s=None)
    assert await bench.later(0) == list(range(1, 10))
