"""What the node's outbox does on this disk: its pace, a backlog that drains, a day without a link.

Each append is answered only after its sync. The disk's own pace is a plain loop of 256 bytes and
one fdatasync each, on the same folder and in turn with the others, a tenth of a second each: a disk
that is shared changes its mind within seconds.
"""

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from farshore_edge.database import SqliteDatabase
from farshore_protocol.stream import Sender

from bench.context import Context
from bench.drain import BODY, Drain, drained, ids, outbox
from bench.model import Figure, Outcome, Runs, Verdict, percentile
from bench.offline import Offline, offline

GROUP_TIMES = 20.0
SINGLE_SHARE = 0.9
DRAIN_SHARE = 0.9
DELAY_TIMES = 2.0
OFFLINE_MIB = 64.0
GROUP = 2_000
BACKLOG = 100_000
SLICE_S = 0.1
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Records a second, measured one after the other."""

    plain: float
    single: float
    group: float


def summarise(rounds: Sequence[Round], drain: Drain, day: Offline) -> Outcome:
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
            Verdict(
                name="outbox.offline",
                what="a day without a link at the default pace, 80 series",
                unit="MiB",
                promised=OFFLINE_MIB,
                measured=day.disk / MIB,
                sides=(),
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
            Figure(
                name="outbox.offline_payload",
                what="of that day, the records themselves",
                unit="MiB",
                runs=Runs.of([day.payload / MIB]),
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
    rounds = await _rounds(context, folder)
    drain = await drained(
        context.folder("drain"),
        backlog=10_000 if context.quick else BACKLOG,
        delays=300 if context.quick else 1_000,
    )
    context.say(
        f"outbox: live {drain.live_rate:.0f}/s, backlog {drain.drain_rate:.0f}/s, p99 "
        f"{percentile(drain.alone_ms, 99):.1f} ms alone, {percentile(drain.beside_ms, 99):.1f} beside"
    )
    day = await offline(context.folder("offline"))
    context.say(f"outbox: a day offline: {day.disk / MIB:.1f} MiB, {day.records} records")
    return summarise(rounds, drain, day)


async def _rounds(context: Context, folder: Path) -> list[Round]:
    window_s = 0.5 if context.quick else 2.0
    # One each: the log of large groups must not be what a single record waits for.
    databases = [SqliteDatabase(folder / name, ids()) for name in ("single.db", "group.db")]
    one, many = (outbox(database, Sender(), lambda: None) for database in databases)
    descriptor = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    async def plain() -> None:
        os.write(descriptor, b"x" * 256)
        os.fdatasync(descriptor)

    rounds = []
    for number in range(3 if context.quick else 5):
        plainly, single, group = await _in_turn(
            window_s,
            (1, plain),
            (1, lambda: one.append("events", "evt/x", BODY)),
            (GROUP, lambda: many.append_many("events", "evt/x", [BODY] * GROUP)),
        )
        rounds.append(Round(plain=plainly, single=single, group=group))
        context.say(
            f"outbox, round {number + 1}: plain {plainly:.0f}, single {single:.0f}, "
            f"group {group:.0f} records/s"
        )
    os.close(descriptor)
    for box, database in zip((one, many), databases, strict=True):
        await box.close()
        await database.close()
    return rounds


async def _in_turn(
    window_s: float, *works: tuple[int, Callable[[], Awaitable[object]]]
) -> list[float]:
    """Records a second of each: (records at once, work), ``window_s`` for each, slice by slice."""
    counts, took_s = [0] * len(works), [0.0] * len(works)
    while min(took_s) < window_s:
        for index, (records, work) in enumerate(works):
            began = time.perf_counter()
            while time.perf_counter() - began < SLICE_S:
                await work()
                counts[index] += records
            took_s[index] += time.perf_counter() - began
    return [count / took for count, took in zip(counts, took_s, strict=True)]
