"""The measured defects of amqtt's own broker, each one a regression test of ours.

Where it is quick and certain, ``stock`` shows that the defect is still there: the day such a test
fails, docs/decisions/0003-embedded-broker.md wants a second look.
"""

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest
from amqtt.broker import Broker
from amqtt.plugins.authentication import AnonymousAuthPlugin
from amqtt.session import Session
from broker.rawclient import (
    CONNACK,
    PUBACK,
    PUBLISH,
    SUBACK,
    RawClient,
    connect_packet,
    publish_packet,
    subscribe_packet,
)
from broker.workbench import Bench, eventually
from farshore_center.broker import Publication, Refusal


class RejectsBob(AnonymousAuthPlugin):  # type: ignore[misc]  # amqtt is untyped here
    """Admits everyone but who calls himself bob with a will."""

    async def authenticate(self, *, session: Session) -> bool:
        return not (session.client_id == "bob" and session.will_flag)


@pytest.fixture
async def stock() -> AsyncIterator[int]:
    """amqtt's own broker; its port."""
    plugin = f"{RejectsBob.__module__}.{RejectsBob.__name__}"
    config = {
        "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:0"}},
        "plugins": {plugin: {"allow_anonymous": True}},
    }
    broker = Broker(config)
    await broker.start()
    yield broker._servers["default"].instance.sockets[0].getsockname()[1]
    await broker.shutdown()


# 1. Retained messages that match anyone's filters.


async def test_a_client_gets_only_the_retained_messages_that_it_asked_for(bench: Bench) -> None:
    publisher = await bench.client("publisher")
    await publisher.publish("secret", b"s", retain=True)
    await publisher.publish("open", b"o", retain=True)
    other = await bench.client("other")
    assert await other.subscribe("secret") == b"\x00"
    assert (await other.message()).payload == b"s"

    newcomer = await bench.client("newcomer")
    await newcomer.nothing_before_pong()
    assert await newcomer.subscribe("open") == b"\x00"
    message = await newcomer.message()
    assert (message.topic, message.payload, message.retain) == ("open", b"o", True)
    await newcomer.nothing_before_pong()


async def test_stock_sends_a_newcomer_what_others_subscribed_to(stock: int) -> None:
    publisher = await RawClient.connect(stock, "publisher")
    await publisher.publish("secret", b"s", retain=True)
    await publisher.subscribe("secret")
    assert (await publisher.message()).payload == b"s"
    newcomer = await RawClient.connect(stock, "newcomer")
    assert (await newcomer.message()).payload == b"s"  # it never subscribed
    publisher.cut()
    newcomer.cut()


# 2. Keep-alive.


async def test_silence_beyond_the_keepalive_ends_the_connection_and_sends_the_will(
    bench: Bench,
) -> None:
    watcher = await bench.client("watcher")
    await watcher.subscribe("will")
    before = asyncio.get_running_loop().time()
    silent = await bench.client("silent", keepalive_s=1, will=("will", b"gone"))
    message = await watcher.message()
    assert (message.topic, message.payload) == ("will", b"gone")
    assert 1.4 < asyncio.get_running_loop().time() - before < 3.0
    await silent.closed()
    assert bench.broker.stats().closed == {"keepalive_expired": 1}


async def test_a_ping_in_time_keeps_the_connection(bench: Bench) -> None:
    pinging = await bench.client("pinging", keepalive_s=1)
    silent = await bench.client("silent", keepalive_s=1)
    silence_ends = asyncio.ensure_future(silent.closed())
    while not silence_ends.done():
        await pinging.nothing_before_pong()
        await asyncio.wait({silence_ends}, timeout=0.4)
    await pinging.nothing_before_pong()
    assert [c.client_id for c in bench.broker.clients()] == ["pinging"]


async def test_a_client_whose_packet_waits_for_our_ingest_is_not_silent(bench: Bench) -> None:
    """Its next packets can't be read meanwhile: the silence is ours."""
    may_go_on = asyncio.Event()

    async def hold(publication: Publication) -> None:
        if publication.topic == "slow":
            await may_go_on.wait()

    bench.before_ingest = hold
    waiting = await bench.client("waiting", keepalive_s=1)
    waiting.send(publish_packet("slow", b"", qos=1))
    silent = await bench.client("silent", keepalive_s=1)
    await silent.closed()
    may_go_on.set()
    await waiting.expect(PUBACK)


# 3. State of an older connection that is taken for a newer one's.


async def test_nothing_of_an_older_connection_is_kept_for_a_persistent_reconnect(
    bench: Bench,
) -> None:
    first = await bench.client(
        "bob", clean=False, username="old", password=b"1", will=("w", b"first")
    )
    await first.subscribe("news")
    await first.disconnect()
    second = await bench.client("bob", clean=False)  # asserts: session present is 0
    (old, _), (new, password) = bench.admitted
    assert (old.username, old.will_topic) == ("old", "w")
    assert (new.username, new.will_topic, password) == (None, None, None)
    assert new.remote != old.remote
    await (await bench.client("publisher")).publish("news", b"n")
    await second.nothing_before_pong()
    second.cut()
    await eventually(lambda: bench.broker.stats().clients == 1)
    assert [p.topic for p in bench.ingested] == ["news"], "the first one's will is forgotten"


# 4. A rejected CONNECT with the client id of somebody who is connected.


async def test_a_rejected_connect_leaves_its_namesake_alone(bench: Bench) -> None:
    victim = await bench.client("bob", will=("will", b"x"))
    await victim.subscribe("news")
    bench.refuse["bob"] = Refusal(reason="not_you", detail="you are not bob")
    attacker = await bench.stranger()
    attacker.send(connect_packet("bob"))
    assert await attacker.expect(CONNACK) == b"\x00\x05"
    assert await attacker.closed() == b""
    await (await bench.client("publisher")).publish("news", b"n")
    assert (await victim.message()).payload == b"n"
    assert bench.reasons() == ["not_you"]
    assert [p.topic for p in bench.ingested] == ["news"], "no will of either"


async def test_stock_silences_the_namesake_of_a_rejected_connect(stock: int) -> None:
    victim = await RawClient.connect(stock, "bob")
    await victim.subscribe("news")
    attacker = await RawClient.open(stock)
    attacker.send(connect_packet("bob", will=("w", b"x")))
    assert await attacker.expect(CONNACK) == b"\x00\x05"
    publisher = await RawClient.connect(stock, "publisher")
    await publisher.publish("news", b"n")
    await victim.nothing_before_pong()  # its subscription is gone, its connection is not
    for client in (victim, attacker, publisher):
        client.cut()


# 5. Take-over.


@pytest.mark.parametrize("clean", [True, False], ids=["clean", "persistent"])
async def test_a_newer_connection_takes_over_and_the_older_one_takes_nothing_along(
    bench: Bench, clean: bool
) -> None:
    watcher = await bench.client("watcher")
    await watcher.subscribe("will")
    older = await bench.client("bob", clean=clean, will=("will", b"older"))
    await older.subscribe("news", "only/older")
    newer = await bench.client("bob", clean=clean, will=("will", b"newer"))
    await newer.subscribe("news")
    await older.closed()
    assert (await watcher.message()).payload == b"older"
    publisher = await bench.client("publisher")
    for payload in (b"1", b"2"):
        await publisher.publish("news", payload)
        assert (await newer.message()).payload == payload
    await publisher.publish("only/older", b"3")
    await newer.nothing_before_pong()
    assert [c.client_id for c in bench.broker.clients()].count("bob") == 1
    newer.cut()
    assert (await watcher.message()).payload == b"newer"
    assert bench.broker.stats().closed["taken_over"] == 1


async def test_the_older_will_is_ingested_before_the_newer_connection_is_accepted(
    bench: Bench,
) -> None:
    may_go_on = asyncio.Event()

    async def hold_wills(publication: Publication) -> None:
        if publication.topic == "will":
            await may_go_on.wait()

    bench.before_ingest = hold_wills
    await bench.client("bob", will=("will", b"older"))
    newer = await bench.stranger()
    newer.send(connect_packet("bob") + publish_packet("hello", b"", qos=1))
    await (await bench.client("other")).nothing_before_pong()  # the broker had its turn
    may_go_on.set()
    await newer.expect(CONNACK)
    await newer.expect(PUBACK)
    assert [p.topic for p in bench.ingested] == ["will", "hello"]


async def test_a_connection_that_was_never_accepted_has_no_will(bench: Bench) -> None:
    """It waited for the end of an older one, and was taken over meanwhile."""
    begun, may_go_on = asyncio.Event(), asyncio.Event()

    async def hold_wills(publication: Publication) -> None:
        begun.set()
        await may_go_on.wait()

    bench.before_ingest = hold_wills
    await bench.client("bob", will=("will", b"older"))
    waiting, newest = await bench.stranger(), await bench.stranger()
    waiting.send(connect_packet("bob", will=("will", b"waiting")))
    await begun.wait()
    newest.send(connect_packet("bob"))
    assert await waiting.closed() == b""
    may_go_on.set()
    await newest.expect(CONNACK)
    assert [p.payload for p in bench.ingested] == [b"older"]


async def test_a_storm_of_take_overs_ends_with_one_connection_that_works(bench: Bench) -> None:
    strangers = [await bench.stranger() for _ in range(30)]
    for stranger in strangers:
        stranger.send(connect_packet("bob", will=("will", b"x")))
    await eventually(
        lambda: bench.broker.stats().connects == 30 and bench.broker.stats().connections == 1
    )
    await eventually(lambda: len(bench.broker.clients()) == 1)
    (survivor,) = bench.broker.clients()
    port = int(survivor.remote.rpartition(":")[2])
    (winner,) = [s for s in strangers if s.writer.get_extra_info("sockname")[1] == port]
    await winner.expect(CONNACK)
    await winner.subscribe("news")
    await bench.broker.publish("news", b"n")
    assert (await winner.message()).payload == b"n"


# 6. Concurrent SUBSCRIBEs.


async def test_concurrent_subscribes_lose_nothing_that_was_acknowledged(bench: Bench) -> None:
    watcher = await bench.client("watcher")
    await watcher.subscribe("data", qos=1)
    publisher = await bench.client("publisher")
    subscribers = [await bench.client(f"s{i}") for i in range(20)]

    async def churn(client: RawClient, base: int) -> None:
        for i in range(10):
            client.send(subscribe_packet(f"filter/{base}/{i}", f"other/{i}/+", packet_id=i + 1))
        for i in range(10):
            assert await client.expect(SUBACK) == struct.pack("!H", i + 1) + b"\0\0"

    async def publish() -> None:
        for i in range(100):
            await publisher.publish("data", b"%d" % i)

    await asyncio.gather(publish(), *(churn(c, i) for i, c in enumerate(subscribers)))
    assert [(await watcher.message()).payload for _ in range(100)] == [
        b"%d" % i for i in range(100)
    ]
    assert len(bench.ingested) == 100


# 7. A publish to $….


async def test_a_publish_to_a_reserved_topic_is_acknowledged_and_changes_nothing(
    bench: Bench,
) -> None:
    watcher = await bench.client("watcher")
    await watcher.subscribe("#")
    client = await bench.client("c")
    await client.publish("$SYS/broker", b"x", retain=True)
    await client.publish("fine", b"y")
    message = await watcher.message()
    assert (message.topic, message.payload) == ("fine", b"y")
    assert [p.topic for p in bench.ingested] == ["fine"]
    ((who, topic, payload, refusal),) = bench.rejected
    assert who is not None
    assert (who.client_id, topic, payload) == ("c", "$SYS/broker", b"x")
    assert refusal.reason == "reserved_topic"


async def test_stock_acknowledges_and_forgets_all_that_follows_a_reserved_topic(stock: int) -> None:
    watcher = await RawClient.connect(stock, "watcher")
    await watcher.subscribe("#")
    client = await RawClient.connect(stock, "c")
    await client.publish("$SYS/broker", b"x")
    await client.publish("fine", b"y")  # has its PUBACK
    await watcher.nothing_before_pong()
    watcher.cut()
    client.cut()


# 8. $share.


async def test_a_shared_subscription_is_refused(bench: Bench) -> None:
    client = await bench.client("c")
    assert await client.subscribe("$share/g/a", "a", "$share", qos=1) == b"\x80\x01\x80"
    assert bench.reasons() == ["shared_subscription"] * 2
    await bench.broker.publish("a", b"1")
    assert (await client.message()).payload == b"1"


async def test_stock_grants_a_shared_subscription_and_never_delivers(stock: int) -> None:
    client = await RawClient.connect(stock, "c")
    assert await client.subscribe("$share/g/a", qos=1) == b"\x01"
    publisher = await RawClient.connect(stock, "p")
    await publisher.publish("a", b"1")
    await client.nothing_before_pong()
    client.cut()
    publisher.cut()


# What a client owes nothing to anybody for, the broker does not time.


async def test_a_message_that_is_acknowledged_late_is_not_given_up(bench: Bench) -> None:
    client = await bench.client("late")
    await client.subscribe("t", qos=1)
    await bench.broker.publish("t", b"1", qos=1)
    kind, flags, body = await client.receive()
    assert (kind, flags) == (PUBLISH, 2)
    client.send(b"\x40\x02" + body[3:5])
    await client.nothing_before_pong()
    assert bench.broker.stats().closed == {}
