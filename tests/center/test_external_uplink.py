"""Messages from an external broker: each node's in order, nobody waits for another, bounded."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from center.running import until
from farshore_center.settings import Address
from farshore_center.uplink.external import INBOX_MESSAGES, ExternalUplink
from farshore_protocol.clock import SystemClock
from farshore_protocol.link import Message
from ports import free_port

Take = Callable[[str, bytes, str | None], Awaitable[None]]


@asynccontextmanager
async def uplink_to(take: Take, ended: list[str]) -> AsyncIterator[ExternalUplink]:
    """Its broker is away: the test itself brings the messages."""
    uplink = ExternalUplink(
        Address(host="127.0.0.1", port=free_port()),
        take=take,
        ended=lambda task: ended.append(task.get_name()),
        epoch="e",
        clock=SystemClock(),
        rng=random.Random(1),
    )
    await uplink.start()
    try:
        yield uplink
    finally:
        await uplink.stop()


def word(node: str, number: int) -> Message:
    return Message(topic=f"fs1/up/{node}/birth", payload=b"%d" % number)


async def test_in_order_for_a_node_and_side_by_side_for_nodes() -> None:
    came: dict[str, list[int]] = {}
    at_once = most = 0

    async def take(topic: str, payload: bytes, _client: str | None) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)  # a commit
        at_once -= 1
        came.setdefault(topic, []).append(int(payload))

    async with uplink_to(take, []) as uplink:
        for number in range(5):
            for node in range(200):
                uplink.received(word(f"pi-{node}", number))
        await until(lambda: sum(map(len, came.values())) == 1000)
    assert all(numbers == [0, 1, 2, 3, 4] for numbers in came.values())
    assert most > 20


async def test_what_has_no_room_is_dropped_and_counted() -> None:
    never = asyncio.Event()

    async def take(_topic: str, _payload: bytes, _client: str | None) -> None:
        await never.wait()

    async with uplink_to(take, []) as uplink:
        for number in range(INBOX_MESSAGES + 7):
            uplink.received(word("pi-1", number))
        assert uplink.dropped == 7


async def test_a_loop_that_breaks_is_told() -> None:
    """Else the center would seem ready and hear nobody."""
    ended: list[str] = []

    async def take(_topic: str, _payload: bytes, _client: str | None) -> None:
        raise ValueError("a defect")

    async with uplink_to(take, ended) as uplink:
        uplink.received(word("pi-1", 1))
        await until(lambda: ended, "the word of the broken loop")
