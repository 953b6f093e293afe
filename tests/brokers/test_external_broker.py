"""The center's side of an external broker: it comes back, keeps order, and is bounded."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog
from farshore_center.broker.selftest import SelfTestSettings
from farshore_center.settings import Address
from farshore_center.uplink import ExternalTiming, ExternalUplink
from farshore_center.uplink import external as uplink_module
from farshore_protocol.clock import SystemClock
from farshore_protocol.link import BackoffSettings, Message
from link.brokers import Mosquitto, Nats, Program
from link.peer import PATIENCE_S, Peer
from structlog.testing import capture_logs

TIMING = ExternalTiming(
    again_s=0.2,
    unreached_s=0.05,
    backoff=BackoffSettings(first_s=0.05, max_s=0.1),
    selftest=SelfTestSettings(within_s=1.0),
)


class Center:
    """An uplink, and what it took; ``held`` holds back the messages of some nodes."""

    def __init__(self, port: int) -> None:
        self.taken: list[str] = []
        self.broke: list[asyncio.Task[None]] = []
        self.held: set[str] = set()
        self._released = asyncio.Event()
        self.uplink = ExternalUplink(
            Address(host="127.0.0.1", port=port),
            take=self._take,
            ended=self.broke.append,
            epoch="e1",
            clock=SystemClock(),
            rng=random.Random(1),
            timing=TIMING,
        )

    async def _take(self, topic: str, payload: bytes, client_id: str | None) -> None:
        while topic.split("/")[2] in self.held:
            await self._released.wait()
        self.taken.append(topic.removeprefix("fs1/up/"))

    def release(self) -> None:
        self.held.clear()
        self._released.set()

    async def until(self, condition: Callable[[], bool], deadline_s: float = PATIENCE_S) -> None:
        """What is awaited is a state of the uplink, which tells nobody of its changes."""
        async with asyncio.timeout(deadline_s):
            while not condition():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.005)

    async def ready(self) -> None:
        await self.until(lambda: self.uplink.ready)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def centers() -> AsyncIterator[list[Center]]:
    centers: list[Center] = []
    yield centers
    for center in centers:
        center.release()
        await center.uplink.stop()
        assert center.broke == []


async def running(centers: list[Center], port: int) -> Center:
    center = Center(port)
    centers.append(center)
    await center.uplink.start()
    return center


def word(topic: str) -> Message:
    return Message(topic=f"fs1/up/{topic}", payload=b"{}", qos=1)


async def test_a_node_that_waits_delays_no_other_and_keeps_its_order(
    broker: Mosquitto, centers: list[Center]
) -> None:
    center = await running(centers, broker.port)
    await center.ready()
    sender = await Peer(broker.link(), "sender").start()
    center.held.add("slow")
    kinds = ("birth", "presence", "tel/a", "tel/b", "res/1")
    for kind in kinds:
        sender.link.publish(word(f"slow/{kind}"))
    nodes = [f"n{number}" for number in range(200)]
    for node in nodes:
        sender.link.publish(word(f"{node}/birth"))
    # At most the nodes of the same lane wait with it.
    await center.until(lambda: len(center.taken) >= 200 * 0.9)
    assert not any(topic.startswith("slow/") for topic in center.taken)
    center.release()
    await center.until(lambda: len(center.taken) == 200 + len(kinds))
    slow = [topic for topic in center.taken if topic.startswith("slow/")]
    assert slow == [f"slow/{kind}" for kind in kinds]
    await sender.end()


@pytest.mark.parametrize(
    ("name", "limit", "payload"),
    [("INBOX_MESSAGES", 10, b"{}"), ("INBOX_BYTES", 10_000, bytes(1_000))],
    ids=["messages", "bytes"],
)
async def test_what_has_no_room_is_dropped_and_counted(
    broker: Mosquitto,
    centers: list[Center],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    limit: int,
    payload: bytes,
) -> None:
    monkeypatch.setattr(uplink_module, name, limit)
    center = await running(centers, broker.port)
    await center.ready()
    sender = await Peer(broker.link(), "sender").start()
    center.held.add("slow")
    for number in range(25):
        topic = f"fs1/up/slow/tel/t{number}"
        sender.link.publish(Message(topic=topic, payload=payload, qos=1))
    await center.until(lambda: center.uplink.dropped == 15)
    center.release()
    await center.until(lambda: len(center.taken) == 10)
    sender.link.publish(word("slow/birth"))
    await center.until(lambda: center.taken[-1] == "slow/birth")
    assert center.uplink.dropped == 15, "there is room again"
    await sender.end()


async def test_it_says_that_it_is_there_and_that_it_leaves(
    broker: Mosquitto, centers: list[Center]
) -> None:
    watcher = await Peer(broker.link(), "watcher", "fs1/center").start()
    center = await running(centers, broker.port)
    await watcher.until_messages(1)
    assert b'"online"' in watcher.payloads[0]
    await center.uplink.stop()
    await watcher.until_messages(2)
    assert b'"offline"' in watcher.payloads[1]
    assert not center.uplink.ready
    await watcher.end()


@pytest.mark.parametrize("kind", [Mosquitto, Nats])
async def test_it_comes_back_with_the_broker_and_what_was_not_sent_is_counted(
    tmp_path: Path, centers: list[Center], kind: type[Program]
) -> None:
    broker = kind(tmp_path / "broker")
    center = await running(centers, broker.port)
    await center.until(lambda: "no connection" in (center.uplink.fault or ""))
    await center.uplink.send(Message(topic="fs1/down/n/ack", payload=b"{}", qos=1))
    assert center.uplink.unsent == 1
    for _ in range(2):
        await broker.start()
        await center.ready()
        assert center.uplink.fault is None
        sender = await Peer(broker.link(), "sender").start()
        center.taken.clear()
        sender.link.publish(word("n/birth"))
        await center.until(lambda: center.taken == ["n/birth"])
        await broker.kill()
        broker.wipe()
        await center.until(lambda: not center.uplink.ready)
        assert center.uplink.fault is not None
        await sender.end()


async def test_no_connection_is_made_to_a_broker_that_is_not_fit_and_it_is_said_once(
    tmp_path: Path, centers: list[Center]
) -> None:
    structlog.reset_defaults()
    broker = Mosquitto(tmp_path / "broker", change=lambda conf: conf.replace("131072", "2000"))
    await broker.start()

    def count() -> int:
        return sum(line["event"].startswith("the broker can't do") for line in lines)

    with capture_logs() as lines:
        watcher = await Peer(broker.link(), "watcher", "fs1/#").start()
        center = await running(centers, broker.port)
        await center.until(lambda: "102400 bytes" in (center.uplink.fault or ""))
        seen = len(watcher.messages)
        # It goes on examining: the self-test's words are heard again.
        await watcher.until(lambda: len(watcher.messages) >= seen + 10)
        assert count() == 1
        assert not center.uplink.ready
        assert not any(message.topic == "fs1/center" for message in watcher.messages)
        await watcher.end()
        await broker.stop()
        broker.change = lambda conf: conf
        await broker.start()
        await center.ready()
    await broker.stop()
