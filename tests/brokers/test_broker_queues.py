"""What the rendered queue limits are for: a center that is slow for a while loses nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from farshore_protocol.link import Message
from link.brokers import Mosquitto, Nats, Program
from link.peer import Peer
from paho.mqtt.enums import CallbackAPIVersion

BURST = 5_000
"""More than Mosquitto's own default queues."""


class SlowReader:
    """A subscriber that reads only while it is told to."""

    def __init__(self, port: int) -> None:
        self.heard = 0
        self._ready = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id="slow")
        self._client.on_connect = lambda client, *_: client.subscribe("fs1/up/#", 1)
        self._client.on_subscribe = self._subscribed
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", port)
        while not self._ready:
            self._client.loop(0.1)

    def _subscribed(self, *_what: object) -> None:
        self._ready = True

    def _message(self, *_what: object) -> None:
        self.heard += 1

    def read_all(self) -> int:
        """Until nothing has come for a second; how many came."""
        quiet = 0
        while quiet < 10:
            before = self.heard
            self._client.loop(0.1)
            quiet = quiet + 1 if self.heard == before else 0
        return self.heard

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop(0.1)


@pytest.fixture
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Program]:
    broker: Program = request.param(tmp_path / "broker")
    await broker.start()
    yield broker
    await broker.stop()


async def heard_of_a_burst(broker: Program) -> int:
    """How many of a burst of acknowledged messages a subscriber gets that reads them late."""
    reader = SlowReader(broker.port)
    acknowledged = asyncio.Event()
    sender = await Peer(broker.link(), "sender", "fs1/up/n/res/last").start()
    sender.at_message = lambda _message: acknowledged.set()
    payload = bytes(300)
    for number in range(BURST - 1):
        topic = f"fs1/up/n/tel/t{number % 7}"
        assert sender.link.publish(Message(topic=topic, payload=payload, qos=1))
    sender.link.publish(Message(topic="fs1/up/n/res/last", payload=payload, qos=1))
    async with asyncio.timeout(20):
        await acknowledged.wait()
    await sender.end()
    heard = await asyncio.to_thread(reader.read_all)
    reader.close()
    return heard


@pytest.mark.parametrize("broker", [Mosquitto, Nats], indirect=True)
async def test_a_burst_waits_for_a_reader_that_is_slow(broker: Program) -> None:
    assert await heard_of_a_burst(broker) == BURST


def without_queue_limits(conf: str) -> str:
    lines = conf.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("max_queued"))


@pytest.mark.parametrize(
    "broker",
    [lambda folder: Mosquitto(folder, change=without_queue_limits)],
    indirect=True,
    ids=["mosquitto at its defaults"],
)
async def test_without_the_rendered_limits_acknowledged_messages_are_dropped(
    broker: Program,
) -> None:
    """If this fails, Mosquitto's default has changed, and the configuration wants a second look."""
    assert await heard_of_a_burst(broker) < BURST
