"""The self-test finds every broker that works fit, and names what a broken one can't do."""

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from farshore_center.broker.needs import Need
from farshore_center.broker.selftest import SelfTest, SelfTestSettings
from farshore_protocol.clock import SystemClock
from farshore_protocol.link import BackoffSettings, Link, Message, Session
from farshore_protocol.link.memory import MemoryBus, MemoryLink
from link.brokers import BROKERS, Broker, Mosquitto, mqtt_link
from link.peer import Peer
from ports import free_port

QUICK = SelfTestSettings(within_s=0.3)
PATIENT = SelfTestSettings(within_s=5.0)


@pytest.fixture(params=sorted(BROKERS))
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Broker]:
    broker = BROKERS[request.param](tmp_path / "broker")
    await broker.start()
    yield broker
    await broker.stop()


async def test_a_broker_that_works_is_fit_and_nothing_is_left_behind(broker: Broker) -> None:
    selftest = SelfTest(broker.link, PATIENT)
    for name in ("selftest-1", "selftest-2"):
        report = await selftest.examine(name)
        assert report.fit, report.text()
    late = await Peer(broker.link(), "late", "fs1/#").start()
    late.link.publish(Message(topic="fs1/group/end/cmd/x", payload=b"x", qos=1))
    await late.until_messages(1)
    await late.end()
    assert late.payloads == [b"x"]


class BrokenBus(MemoryBus):
    """A broker that does one thing wrongly, by ``change``: None swallows a message."""

    def __init__(self, change: Callable[[Message, str | None], Message | None]) -> None:
        super().__init__()
        self._change = change

    def publish(self, message: Message, client_id: str | None = None) -> None:
        changed = self._change(message, client_id)
        if changed is not None:
            super().publish(changed, client_id)


class HoardingBus(MemoryBus):
    """Keeps sessions: who comes back still has the older filters."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[str, tuple[str, ...]] = {}

    def attach(self, link: MemoryLink, session: Session) -> None:
        older = self._sessions.get(session.client_id, ())
        self._sessions[session.client_id] = session.filters
        super().attach(link, session)
        self._subscribe(link, set(older) - set(session.filters))


def _cut(message: Message, _client: str | None) -> Message:
    return replace(message, payload=message.payload[:1000])


BROKEN: dict[str, tuple[Callable[[], MemoryBus], set[Need]]] = {
    "drops the retain flag": (
        lambda: BrokenBus(lambda m, _: replace(m, retain=False)),
        {"retained"},
    ),
    "never clears": (
        lambda: BrokenBus(lambda m, _: replace(m, retain=bool(m.payload)) if m.retain else m),
        {"clearing"},
    ),
    "cuts payloads at 1000 bytes": (lambda: BrokenBus(_cut), {"large_payload"}),
    "drops large messages": (
        lambda: BrokenBus(lambda m, _: m if len(m.payload) < 65_536 else None),
        {"large_payload"},
    ),
    "publishes no wills": (
        lambda: BrokenBus(lambda m, _: None if m.payload == b"will" else m),
        {"will"},
    ),
    "delivers at QoS 0": (lambda: BrokenBus(lambda m, _: replace(m, qos=0)), {"qos1"}),
    "takes six levels": (
        lambda: BrokenBus(lambda m, _: m if m.topic.count("/") < 6 else None),
        {"deep_topic"},
    ),
    "has no '~'": (
        lambda: BrokenBus(lambda m, _: m if "~" not in m.topic else None),
        {"group"},
    ),
    "lets nobody write to nodes": (
        lambda: BrokenBus(lambda m, _: m if "/down/" not in m.topic else None),
        {"down", "clearing", "clean_session"},  # the marker goes down, too
    ),
    "keeps sessions": (HoardingBus, {"clean_session"}),
}


@pytest.mark.parametrize(("make", "expected"), BROKEN.values(), ids=BROKEN)
async def test_what_a_broker_can_not_do_is_named(
    make: Callable[[], MemoryBus], expected: set[Need]
) -> None:
    bus = make()

    def link() -> Link:
        return MemoryLink(bus, clock=SystemClock(), rng=random.Random(1))

    report = await SelfTest(link, QUICK).examine("selftest-1")
    if "retained" in report.faults and "down" in expected:
        expected = expected | {"retained"}  # no marker, no verdict on what came before it
    assert set(report.faults) == expected, report.text()


async def test_a_mosquitto_with_a_small_packet_size_is_named_by_its_flaw(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", change=lambda conf: conf.replace("131072", "2000"))
    await broker.start()
    try:
        report = await SelfTest(broker.link, QUICK).examine("selftest-1")
        assert set(report.faults) == {"large_payload"}, report.text()
    finally:
        await broker.stop()


async def test_a_mosquitto_on_the_nodes_listener_is_no_broker_for_the_center(
    tmp_path: Path,
) -> None:
    """It grants every subscription; the access rule shows by what is delivered."""
    broker = Mosquitto(tmp_path / "broker")
    await broker.start()
    try:
        report = await SelfTest(lambda: mqtt_link(broker.nodes_port), QUICK).examine("selftest-1")
        assert {"qos1", "wildcard", "down", "group"} <= set(report.faults)
    finally:
        await broker.stop()


async def test_no_broker_is_told_from_a_bad_one() -> None:
    port = free_port()
    report = await SelfTest(lambda: mqtt_link(port), QUICK).examine("selftest-1")
    assert not report.reached
    assert report.text() == "two clients connect, subscribe and stay: no connection within 0.3 s"


async def test_a_broker_that_leaves_meanwhile_was_not_reached(tmp_path: Path) -> None:
    bus = BrokenBus(lambda m, _: bus.set_up(False) if m.payload == b"kept" else m)

    def link() -> Link:
        backoff = BackoffSettings(first_s=0.01, max_s=0.01)
        return MemoryLink(bus, clock=SystemClock(), rng=random.Random(1), backoff=backoff)

    report = await SelfTest(link, QUICK).examine("selftest-1")
    assert set(report.faults) == {"connection"}
