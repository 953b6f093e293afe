"""How a backlog drains beside live records, over a link in memory to a scripted center.

The center acknowledges what arrived, once in each round trip; nothing is encrypted or decoded twice,
so that the node is what is measured.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from farshore_edge.app import SETTLE_S
from farshore_edge.database import SqliteDatabase
from farshore_edge.outbox import BufferSettings, Courier, Outbox, Timing
from farshore_edge.settings import Settings
from farshore_protocol.clock import SystemClock
from farshore_protocol.ids import Ids
from farshore_protocol.link import Message
from farshore_protocol.stream import Sender, StreamAck
from farshore_protocol.telemetry import inflate

BODY = {"data": {"x": "y" * 140}}
LIVE_RECORDS = 3_000
ROUND_TRIP_S = 0.002
AT_ONCE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """``live_rate``: records a second that are made and arrive live; ``drain_rate``: of the backlog
    alone; the delays, in ms, of live records at an even pace, without a backlog and beside it."""

    live_rate: float
    drain_rate: float
    alone_ms: Sequence[float]
    beside_ms: Sequence[float]


def ids() -> Ids:
    return Ids(random.Random(1))  # noqa: S311 # replayable, no secret


def outbox(database: SqliteDatabase, sender: Sender, woken: Callable[[], None]) -> Outbox:
    clock = SystemClock()
    return Outbox(
        database,
        sender,
        now=lambda: Timing(
            boot="benchbox", up_ms=int(clock.monotonic_s() * 1000), ts=clock.now_ms(), synced=True
        ),
        max_bytes=2**40,
        woken=woken,
        buffer=BufferSettings(
            settle_s=SETTLE_S, spill_after_s=Settings(node="bench").spill_after_s
        ),
    )


class ScriptedCenter:
    """The node's link and the center behind it: acknowledges in one word what came in a round trip."""

    def __init__(self, database: SqliteDatabase) -> None:
        sender = Sender()
        self.outbox = outbox(database, sender, lambda: self.courier.wake())
        self.courier = Courier(
            node="bench", outbox=self.outbox, sender=sender, uplink=self, clock=SystemClock()
        )
        self.arrived: dict[str, int] = {"events": 0, "metrics": 0}
        self.at: dict[int, float] = {}
        self._news = asyncio.Event()
        self._new: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._tasks = [asyncio.create_task(self.courier.run()), asyncio.create_task(self._acks())]

    def publish(self, message: Message) -> bool:
        word: dict[str, Any] = orjson.loads(inflate(message.payload))
        stream = "metrics" if "/tel/" in message.topic else "events"
        self.arrived[stream] += 1
        self._news.set()
        if stream == "metrics":
            self.at[word["seq"]] = time.perf_counter()
        self._new.setdefault((stream, word["epoch"]), []).append((word["seq"], word["seq"]))
        return True

    async def _acks(self) -> None:
        while True:
            await asyncio.sleep(ROUND_TRIP_S)
            new, self._new = self._new, {}
            for (stream, epoch), ranges in new.items():
                word = StreamAck(epoch=epoch, ranges=tuple(ranges))
                await self.courier.acknowledged({stream: word})

    async def connect(self) -> None:
        self.courier.link_up()
        await self.courier.acknowledged({})

    async def until(self, stream: str, count: int) -> None:
        while self.arrived[stream] < count:
            self._news.clear()
            await self._news.wait()

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.outbox.close()


async def drained(folder: Path, *, backlog: int, delays: int) -> Drain:
    database = SqliteDatabase(folder / "drain.db", ids())
    center = ScriptedCenter(database)
    await center.connect()
    began = time.perf_counter()
    for number in range(LIVE_RECORDS):
        await center.outbox.append("events", "evt/x", BODY)
        if number % 32 == 31:
            await center.until("events", number - 31)
    await center.until("events", LIVE_RECORDS)
    live_rate = LIVE_RECORDS / (time.perf_counter() - began)
    alone_ms = await _delays(center, delays)
    center.courier.link_down()
    for _ in range(backlog // AT_ONCE):
        await center.outbox.append_many("events", "evt/x", [BODY] * AT_ONCE)
    await center.connect()
    began, before = time.perf_counter(), center.arrived["events"]
    beside_ms = await _delays(center, delays)
    await center.until("events", before + backlog)
    drain_rate = backlog / (time.perf_counter() - began)
    alone_ms += await _delays(center, delays)  # the disk may have changed its mind
    await center.end()
    await database.close()
    return Drain(live_rate=live_rate, drain_rate=drain_rate, alone_ms=alone_ms, beside_ms=beside_ms)


async def _delays(center: ScriptedCenter, count: int, every_s: float = 0.005) -> list[float]:
    """From the append of a live batch to its arrival, ms."""
    made: dict[int, float] = {}
    for number in range(count):
        began = time.perf_counter()
        body = {"dt": [0], "m": {"x": [float(number)]}}
        made[await center.outbox.append("metrics", "tel/host", body)] = began
        await asyncio.sleep(every_s)
    async with asyncio.timeout(30):
        await _all_in(center, made)
    return [(center.at[seq] - began) * 1000 for seq, began in made.items()]


async def _all_in(center: ScriptedCenter, made: dict[int, float]) -> None:
    while not made.keys() <= center.at.keys():
        await center.until("metrics", center.arrived["metrics"] + 1)
