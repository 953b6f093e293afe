"""Live logs at the center: to who listens alone, bounded for each, and what is missing is counted."""

import asyncio
from typing import Any

import pytest
from farshore_center.logs import relay as relay_module
from farshore_center.logs.relay import Listener, Relay
from farshore_protocol.codec import encode
from farshore_protocol.errors import MessageError
from farshore_protocol.messages import LogLines
from farshore_protocol.topics import Up

SHOP = Up(node="pi-1", kind="log", name="shop")


def word(seq: int, *lines: str, tail: str = "t1", **more: Any) -> LogLines:
    return LogLines(tail=tail, seq=seq, ts=1, lines=lines, **more)


async def heard(listener: Listener) -> list[LogLines]:
    found = []
    while (each := await listener.next(0.01)) is not None:
        found.append(each)
    return found


async def test_only_who_listens_gets_it_and_only_of_that_log() -> None:
    relay = Relay()
    relay.take(SHOP, encode(word(1, "nobody")))
    relay.take(SHOP, b"{broken")  # nobody listens, so nobody reads it
    with relay.listen("pi-1", "shop") as one, relay.listen("pi-1", "other") as other:
        assert len(relay) == 2
        relay.take(SHOP, encode(word(2, "a")))
        relay.take(Up(node="pi-2", kind="log", name="shop"), encode(word(9, "another node")))
        assert [w.lines for w in await heard(one)] == [("a",)]
        assert await heard(other) == []
        with pytest.raises(MessageError):
            relay.take(SHOP, b"{broken")
    assert len(relay) == 0


async def test_what_was_in_the_snapshot_is_not_heard_again_and_holes_are_counted() -> None:
    listener = Listener()
    for seq in (1, 2, 3):
        listener.take(word(seq, str(seq)), 10)
    listener.begin("t1", 2)
    assert [w.lines for w in await heard(listener)] == [("3",)]
    assert listener.lost == 0
    listener.take(word(6, "6"), 10)
    await heard(listener)
    assert listener.lost == 2
    listener.take(word(1, "again", tail="t2"), 10)  # another tail counts from its beginning
    assert [w.lines for w in await heard(listener)] == [("again",)]
    assert listener.lost == 2


async def test_a_slow_listener_loses_the_oldest_and_is_told_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(relay_module, "WAITING_BYTES", 1000)
    listener = Listener()
    listener.begin("t1", 0)
    for seq in range(1, 101):
        listener.take(word(seq, "a", "b", dropped=1), 100)
    found = await heard(listener)
    assert len(found) == 10
    assert sum(len(w.lines) + w.dropped for w in found) == 300
    assert listener.lost == 0, "they were dropped here, not on the way"


async def test_a_relay_that_closes_wakes_who_waits() -> None:
    relay = Relay()
    with relay.listen("pi-1", "shop") as listener:
        waiting = asyncio.create_task(listener.next(60))
        await asyncio.sleep(0)
        relay.close()
        assert await waiting is None
        assert listener.closed
