"""Real agents on bad links: they notice, wait, come back, and nothing is lost or there twice."""

import asyncio
import functools
import random
import time
from pathlib import Path

import pytest
from farshore_sim.faults.link_faults import (
    Delay,
    Direction,
    HalfOpen,
    Stall,
    Tear,
    Throttle,
    TornCut,
)
from faults_link.linked import Linked, linked, together
from system.programs import CenterProgram, until

pytestmark = pytest.mark.processes

KEEPALIVE = ("--keepalive-s", "2")
NOTICED_WITHIN_S = 2 * 1.5 + 1.5
"""One and a half keep-alives, and a bit."""
DOWN = "the link is down"


async def half_open(node: Linked, direction: Direction) -> None:
    await node.at_work()
    assert node.said(DOWN) == 0
    began_s = time.monotonic()
    with node.proxy.faulty(HalfOpen(), direction=direction):
        command = await node.give()
        await until(lambda: node.said(DOWN), "that the agent notices")
        assert time.monotonic() - began_s < NOTICED_WITHIN_S
    await node.done(command)
    await node.all_done()
    await node.complete()


async def stalled(node: Linked) -> None:
    """Shorter than the keep-alive: no reason to connect again."""
    await node.at_work()
    with node.proxy.faulty(Stall()):
        before = await node.accepted()
        await node.give()
        await asyncio.sleep(3)  # the length of the stall
        assert await node.accepted() <= before + 1, "nothing passes"
    await node.more(5)
    await node.all_done()
    assert node.said(DOWN) == 0
    await node.complete()


async def throttled(node: Linked) -> None:
    """A backlog drains, and what is new does not wait behind it."""
    await node.at_work()
    await node.proxy.cut()
    before = (await node.books())["metrics"]["head"]
    await until(lambda: node.said(DOWN) >= 25, "a time without a link", 40)
    node.proxy.put(Throttle(bytes_per_s=20_000), Direction.UP)
    healed_ms = time.time() * 1000
    await node.proxy.heal()

    arrived: dict[int, int] = {}

    async def drained() -> bool:
        arrived.update(node.stored())  # the history takes them every few seconds
        book = (await node.books())["metrics"]
        return bool(book["accepted"] == book["head"] > before + 35)

    await until(drained, "the backlog", 60)
    order = [t0_ms >= healed_ms for _, t0_ms in sorted(arrived.items())]
    last_old = len(order) - order[::-1].index(False)
    assert sum(order[:last_old]) >= 3, f"new records while the backlog drains: {order}"
    node.proxy.clear()
    await node.complete()


async def delayed(node: Linked) -> None:
    node.proxy.put(Delay(fixed_s=0.3, jitter_s=0.2))
    await node.at_work()
    await node.give()
    await node.more(3)
    status = await node.ask("status")
    offset_ms = status["clock_offset_ms"]  # of one machine's clock to itself: all of it is error
    assert abs(offset_ms) <= 500 + 100, "half of the longest round trip, and this machine's own"
    await node.all_done()
    assert node.said(DOWN) == 0
    await node.complete()


async def torn(node: Linked) -> None:
    rng = random.Random(5)
    await node.at_work()
    for number in range(20):
        node.proxy.put(Tear(most_bytes=rng.randint(1, 40), pause_s=rng.choice((0, 0.001))))
        if number % 5 == 0:
            await node.give()
        await node.more(1)
    await node.all_done()
    assert node.said(DOWN) == 0, "whole packets come out of pieces"
    node.proxy.clear()
    await node.complete()


def is_torn(node: Linked, way: Direction) -> bool:
    return node.proxy.shape(way).torn_cut is None


async def torn_and_cut(node: Linked) -> None:
    rng = random.Random(6)
    await node.at_work()
    for number in range(20):
        way, most = (
            (Direction.UP, 2_500) if number % 3 else (Direction.DOWN, 200)
        )  # little comes down
        node.proxy.put(TornCut(after_bytes=rng.randrange(1, most)), way)
        if number % 4 == 0:
            await node.give()
        await until(functools.partial(is_torn, node, way), f"cut {number} {way.name}")
    assert node.said(DOWN) >= 15, "some cuts hit a connection that was not up yet"
    await node.all_done()
    await node.complete()


async def test_agents_live_through_bad_links_and_nothing_is_lost(
    center: CenterProgram, tmp_path: Path
) -> None:
    async def story(name: str, work: object, *argv: str) -> None:
        async with linked(center, tmp_path, name, *argv) as node:
            await work(node)  # type: ignore[operator]

    fast = ("--backoff-first-s", "0.05", "--backoff-max-s", "0.2")
    await together(
        half_open_up=story("up", lambda n: half_open(n, Direction.UP), *KEEPALIVE),
        half_open_down=story("down", lambda n: half_open(n, Direction.DOWN), *KEEPALIVE),
        half_open_both=story("both", lambda n: half_open(n, Direction.BOTH), *KEEPALIVE),
        stalled=story("stall", stalled, "--keepalive-s", "4"),
        throttled=story("slow", throttled, "--sample-interval-s", "0.1", "--batch-s", "0.1"),
        delayed=story("late", delayed),
        torn=story("torn", torn),
        torn_and_cut=story("cuts", torn_and_cut, *fast),
    )
