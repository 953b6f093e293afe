"""What the node's outbox does on this disk, and how a backlog drains beside live records.

Each append is answered only after its sync. The disk's own pace is a plain loop of 256 bytes and
one fdatasync each, on the same folder and in turn with the others: a disk that is shared changes
its mind within seconds. The drain runs over a link in memory to a scripted center that acknowledges
what arrived, once in each round trip.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from farshore_edge.database import SqliteDatabase
from farshore_edge.outbox import BufferSettings, Courier, Outbox, Timing
from farshore_protocol.clock import SystemClock
from farshore_protocol.ids import Ids
from farshore_protocol.link import Message
from farshore_protocol.stream import Sender, StreamAck
from farshore_protocol.telemetry import inflate

from bench.context import Context
from bench.model import Figure, Outcome, Runs, Verdict, percentile

GROUP_TIMES = 20.0
SINGLE_SHARE = 0.9
DRAIN_SHARE = 0.9
DELAY_TIMES = 2.0
GROUP = 2_000
BODY = {"data": {"x": "y" * 140}}
BACKLOG = 100_000
LIVE_RECORDS = 3_000
ROUND_TRIP_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Records a second, measured one after the other."""

    plain: float
    single: float
    group: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """``live_rate``: records a second that are made and arrive live; ``drain_rate``: of the backlog
    alone; the delays, in ms, of live records at an even pace, without a backlog and beside it."""

    live_rate: float
    drain_rate: float
    alone_ms: Sequence[float]
    beside_ms: Sequence[float]


def summarise(rounds: Sequence[Round], drain: Drain) -> Outcome:
    """The median over the rounds of what is compared within each."""
    group = Runs.of([each.group / each.plain for each in rounds])
    single = Runs.of([each.single / each.plain for each in rounds])
    alone, beside = percentile(drain.alone_ms, 99), percentile(drain.beside_ms, 99)
    sides = tuple(
        Figure(name=name, what=what, unit="records/s", runs=Runs.of(values))
        for name, what, values in (
            ("plain", "256 bytes and one fdatasync each", [r.plain for r in rounds]),
            ("single", "outbox, one record a sync", [r.single for r in rounds]),
            ("group", "outbox, group commit", [r.group for r in rounds]),
        )
    )
    return Outcome(
        measure="outbox",
        verdicts=(
            _lower("outbox.group", "group commit against a plain loop", GROUP_TIMES, group.median),
            _lower("outbox.single", "one record a sync against it", SINGLE_SHARE, single.median),
            _lower(
                "outbox.drain",
                "draining a backlog against the live rate",
                DRAIN_SHARE,
                drain.drain_rate / drain.live_rate,
            ),
            Verdict(
                name="outbox.delay",
                what="p99 delay of live records beside a backlog, against none",
                unit="times",
                promised=DELAY_TIMES,
                measured=beside / alone,
                sides=(
                    _ms("alone", "without a backlog", drain.alone_ms),
                    _ms("beside", "beside a backlog", drain.beside_ms),
                ),
            ),
        ),
        figures=(
            *sides,
            Figure(
                name="outbox.live_rate",
                what="live records to the scripted center",
                unit="records/s",
                runs=Runs.of([drain.live_rate]),
            ),
            Figure(
                name="outbox.drain_rate",
                what="backlog to the scripted center",
                unit="records/s",
                runs=Runs.of([drain.drain_rate]),
            ),
        ),
    )


def _lower(name: str, what: str, promised: float, measured: float) -> Verdict:
    return Verdict(
        name=name,
        what=what,
        unit="times",
        promised=promised,
        measured=measured,
        sides=(),
        at_most=False,
    )


def _ms(name: str, what: str, values: Sequence[float]) -> Figure:
    return Figure(name=name, what=what, unit="ms", runs=Runs.of([percentile(values, 99)]))


async def run(context: Context) -> Outcome:
    folder = context.folder("outbox")
    window_s = 0.5 if context.quick else 2.0
    rounds = []
    database = SqliteDatabase(folder / "rate.db", _ids())
    outbox = _outbox(database, Sender(), lambda: None)
    for number in range(3 if context.quick else 5):
        found = Round(
            plain=await _rate(window_s, 1, _plain(folder)),
            single=await _rate(window_s, 1, lambda: outbox.append("events", "evt/x", BODY)),
            group=await _rate(
                window_s, GROUP, lambda: outbox.append_many("events", "evt/x", [BODY] * GROUP)
            ),
        )
        rounds.append(found)
        context.say(
            f"outbox, round {number + 1}: plain {found.plain:.0f}, single {found.single:.0f}, "
            f"group {found.group:.0f} records/s"
        )
    await outbox.close()
    await database.close()
    drain = await _drained(folder, 10_000 if context.quick else BACKLOG)
    context.say(
        f"outbox: live {drain.live_rate:.0f}/s, backlog {drain.drain_rate:.0f}/s, p99 "
        f"{percentile(drain.alone_ms, 99):.1f} ms alone, {percentile(drain.beside_ms, 99):.1f} beside"
    )
    return summarise(rounds, drain)


def _ids() -> Ids:
    return Ids(random.Random(1))  # noqa: S311 # replayable, no secret


def _plain(folder: Path) -> Callable[[], Awaitable[object]]:
    descriptor = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    async def write() -> None:
        os.write(descriptor, b"x" * 256)
        os.fdatasync(descriptor)

    return write


async def _rate(window_s: float, records: int, work: Callable[[], Awaitable[object]]) -> float:
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < window_s:
        await work()
        count += records
    return count / (time.perf_counter() - began)


def _outbox(database: SqliteDatabase, sender: Sender, woken: Callable[[], None]) -> Outbox:
    clock = SystemClock()
    return Outbox(
        database,
        sender,
        now=lambda: Timing(
            boot="benchbox", up_ms=int(clock.monotonic_s() * 1000), ts=clock.now_ms(), synced=True
        ),
        max_bytes=2**40,
        woken=woken,
        buffer=BufferSettings(settle_s=0.5),
    )


class ScriptedCenter:
    """The node's link and the center behind it: acknowledges in one word what came in a round trip."""

    def __init__(self, database: SqliteDatabase) -> None:
        sender = Sender()
        self.outbox = _outbox(database, sender, lambda: self.courier.wake())
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


async def _drained(folder: Path, backlog: int) -> Drain:
    database = SqliteDatabase(folder / "drain.db", _ids())
    center = ScriptedCenter(database)
    await center.connect()
    began = time.perf_counter()
    for number in range(LIVE_RECORDS):
        await center.outbox.append("events", "evt/x", BODY)
        if number % 32 == 31:
            await center.until("events", number - 31)
    await center.until("events", LIVE_RECORDS)
    live_rate = LIVE_RECORDS / (time.perf_counter() - began)
    alone_ms = await _delays(center)
    center.courier.link_down()
    for _ in range(backlog // GROUP):
        await center.outbox.append_many("events", "evt/x", [BODY] * GROUP)
    await center.connect()
    began, before = time.perf_counter(), center.arrived["events"]
    beside_ms = await _delays(center)
    await center.until("events", before + backlog)
    drain_rate = backlog / (time.perf_counter() - began)
    await center.end()
    await database.close()
    return Drain(live_rate=live_rate, drain_rate=drain_rate, alone_ms=alone_ms, beside_ms=beside_ms)


async def _delays(center: ScriptedCenter, count: int = 300, every_s: float = 0.005) -> list[float]:
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
