"""Real agents with wrong wall clocks: the center's history is right, or says that it is not."""

import asyncio
import contextlib
import sqlite3
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from farshore_protocol.telemetry import inflate
from faults_link.linked import Linked, linked, together
from system.programs import CenterProgram, until

pytestmark = pytest.mark.processes

RIGHT_WITHIN_MS = 2_000
YEAR_MS = 31_557_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A batch in the center's history, and what it was when it came."""

    at_ms: int
    approximate: bool
    boot: str
    seq: int
    ts: int
    up_ms: int


def clocked(node: Linked, words: str) -> None:
    """From now on it starts with this clock."""
    flags = node.agent.argv[node.agent.argv.index("--dev") :]
    node.agent.argv[:] = [sys.executable, "-m", "farshore_sim.faults.agent", f"--clock={words}"]
    node.agent.argv += flags


def history(node: Linked) -> list[Stored]:
    path = f"file:{node.center.data / 'center.db'}?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as database:
        rows = database.execute(
            "select t0_ms, approximate, payload from telemetry_batch where node = ?", [node.name]
        ).fetchall()
    words = [(t, bool(a), orjson.loads(inflate(p))) for t, a, p in rows]
    return [
        Stored(at_ms=t, approximate=a, boot=w["boot"], seq=w["seq"], ts=w["ts"], up_ms=w["up_ms"])
        for t, a, w in words
    ]


async def boot_zero_ms(node: Linked) -> tuple[str, float]:
    """The present boot, and the true time at which it began; right within a part of a second."""
    status = await node.ask("status")
    return status["boot"], time.time() * 1000 - status["up_s"] * 1000


async def right(node: Linked) -> list[Stored]:
    """Every batch of this boot stands where it was made, and is not called approximate."""
    boot, zero_ms = await boot_zero_ms(node)
    mine = [batch for batch in history(node) if batch.boot == boot]
    for batch in mine:
        off_ms = batch.at_ms - (zero_ms + batch.up_ms)
        assert abs(off_ms) < RIGHT_WITHIN_MS, (node.name, off_ms, batch)
        assert not batch.approximate, (node.name, batch)
    seqs = [batch.seq for batch in mine]
    assert len(seqs) == len(set(seqs)) > 0
    return mine


async def clock_ms(node: Linked) -> float:
    """What its wall clock says, less what it should."""
    said = await node.ask("ping")
    return float(said["at"]) - time.time() * 1000


async def rejections(node: Linked) -> list[dict[str, Any]]:
    found = await node.center.get("/rejected")
    return [item for item in found["items"] if item["node"] == node.name]


async def always_wrong(node: Linked, words: str, *, least_ms: float) -> None:
    """Connected all the while: everything is corrected, and commands with a time to live work."""
    clocked(node, words)
    await node.start()
    await node.more(1)
    await node.give(ttl_s=20)
    await node.more(2)
    assert abs(await clock_ms(node)) > least_ms
    await node.give(ttl_s=5)
    await node.all_done()
    batches = await right(node)
    assert all(abs(batch.ts - batch.at_ms) > least_ms for batch in batches), "all were corrected"
    assert await rejections(node) == []
    await node.complete()


async def jumps_back(node: Linked) -> None:
    """Right at first and known as such; then two hours back."""
    clocked(node, "-2h@4")
    await node.at_work()
    await until(lambda: any(b.ts < b.at_ms - 7_000_000 for b in history(node)), "a jump")
    await node.give(ttl_s=5)
    await node.more(2)
    await node.all_done()
    batches = await right(node)
    assert any(abs(batch.ts - batch.at_ms) < RIGHT_WITHIN_MS for batch in batches)
    assert await rejections(node) == []
    await node.complete()


async def wrong_while_offline(node: Linked) -> None:
    """The time exchange of the same boot comes later, and corrects what was made before it."""
    clocked(node, "1970")
    await node.start(cut=True)
    began_ms = time.time() * 1000
    await until(lambda: node.said("the link is down") >= 15, "a time without a link")
    healed_ms = time.time() * 1000
    await node.proxy.heal()
    await node.more(4)
    batches = await right(node)
    early = [batch for batch in batches if began_ms < batch.at_ms < healed_ms]
    assert len(early) >= 2, "the records of the time without a link"
    await node.complete()


async def never_known(node: Linked, words: str) -> None:
    """A boot that ended without a time exchange: its records are dated by their receipt, and listed."""
    clocked(node, words)
    await node.start(cut=True)
    await until(lambda: node.said("the link is down") >= 15, "a time without a link")
    assert await asyncio.to_thread(node.agent.end) == 0
    clocked(node, "+0s")
    healed_ms = time.time() * 1000
    await node.proxy.heal()
    node.agent.start()
    await until(lambda: len({batch.boot for batch in history(node)}) == 2, "the next boot", 60)
    await node.more(2)
    batches = await right(node)
    earlier = [batch for batch in history(node) if batch.boot != batches[0].boot]
    assert len(earlier) >= 2, "nothing is lost"
    assert all(batch.approximate for batch in earlier)
    assert all(healed_ms - 100 < batch.at_ms < time.time() * 1000 for batch in earlier)
    named = [item for item in await rejections(node) if item["reason"] == "clock"]
    assert len(named) >= len(earlier)
    assert all("dated by its receipt" in item["detail"] for item in named)
    await node.complete()


async def test_wrong_clocks_cost_no_record_and_no_command(
    center: CenterProgram, tmp_path: Path
) -> None:
    async def story(name: str, work: object) -> None:
        async with linked(center, tmp_path, name) as node:
            await work(node)  # type: ignore[operator]

    await together(
        at_1970=story("old", lambda n: always_wrong(n, "1970", least_ms=50 * YEAR_MS)),
        ten_years_ahead=story("new", lambda n: always_wrong(n, "+10y", least_ms=9 * YEAR_MS)),
        jumps_back=story("jump", jumps_back),
        wrong_while_offline=story("late", wrong_while_offline),
        never_known_1970=story("lost", lambda n: never_known(n, "1970")),
        never_known_ahead=story("ahead", lambda n: never_known(n, "+10y")),
    )
