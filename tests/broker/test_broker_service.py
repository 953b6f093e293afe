"""What the broker promises to its clients and to the center."""

import asyncio
import threading

import pytest
from broker.rawclient import (
    CONNACK,
    DEADLINE_S,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    UNSUBACK,
    RawClient,
    connect_packet,
    packet,
    publish_packet,
    text,
)
from broker.workbench import Bench, eventually
from farshore_center.broker import BadTopicError, BrokerError, Publication, Refusal
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

REFUSED = Refusal(reason="foreign_prefix", detail="not yours")


class Held:
    """An ingest that waits for a word on one topic."""

    def __init__(self, bench: Bench, topic: str) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self._topic = topic
        bench.before_ingest = self

    async def __call__(self, publication: Publication) -> None:
        if publication.topic == self._topic:
            self.begun.set()
            await self.go_on.wait()


# Ingest and acknowledgement.


async def test_the_puback_comes_after_the_ingest(bench: Bench) -> None:
    held = Held(bench, "t")
    client, other = await bench.client("c"), await bench.client("other")
    client.send(publish_packet("t", b"1", qos=1, packet_id=7))
    puback = asyncio.ensure_future(client.expect(PUBACK))
    async with asyncio.timeout(DEADLINE_S):
        await held.begun.wait()
    await other.publish("elsewhere", b"2")  # nobody else waits
    await other.nothing_before_pong()
    assert not puback.done()
    held.go_on.set()
    assert await puback == b"\x00\x07"
    assert [p.topic for p in bench.ingested] == ["elsewhere", "t"]


async def test_a_client_that_is_faster_than_the_ingest_is_slowed_down(bench: Bench) -> None:
    held = Held(bench, "t")
    client = await bench.client("c")
    for _ in range(400):
        client.send(publish_packet("t", bytes(100_000)))
    async with asyncio.timeout(DEADLINE_S):
        await held.begun.wait()
    for _ in range(20):
        await (await bench.client("other")).nothing_before_pong()
    assert bench.broker.stats().bytes_received < 2_000_000, "of 40 MB"
    unsent = client.writer.transport.get_write_buffer_size()
    assert unsent > 20_000_000, "nor does the broker hold it in a buffer"
    held.go_on.set()
    await eventually(lambda: len(bench.ingested) == 400)


async def test_what_the_ingest_fails_on_is_not_acknowledged(bench: Bench) -> None:
    async def fail(publication: Publication) -> None:
        if publication.topic == "bad":
            raise RuntimeError("the disk is full")

    bench.before_ingest = fail
    watcher = await bench.client("watcher")
    await watcher.subscribe("#")
    client = await bench.client("c")
    client.send(publish_packet("bad", b"1", qos=1))
    assert await client.closed() == b""
    await (await bench.client("other")).publish("good", b"2")
    assert (await watcher.message()).topic == "good"
    assert bench.broker.stats().closed["ingest_failed"] == 1


async def test_a_refused_publication_is_acknowledged_and_goes_nowhere(bench: Bench) -> None:
    bench.refuse["theirs"] = REFUSED
    watcher = await bench.client("watcher")
    await watcher.subscribe("#")
    client = await bench.client("c")
    await client.publish("theirs", b"1", retain=True)
    client.send(publish_packet("theirs", b"2"))
    await client.publish("mine", b"3")
    assert (await watcher.message()).payload == b"3"
    assert [p.payload for p in bench.ingested] == [b"3"]
    assert [(topic, payload, r) for _, topic, payload, r in bench.rejected] == [
        ("theirs", b"1", REFUSED),
        ("theirs", b"2", REFUSED),
    ]
    stats = bench.broker.stats()
    assert (stats.refused, stats.retained, stats.received) == ({"foreign_prefix": 2}, 0, 3)


async def test_the_ingest_is_told_everything_about_a_publication(bench: Bench) -> None:
    client = await bench.client("c", username="u")
    await client.publish("t", b"\x00\xff", retain=True)
    (publication,) = bench.ingested
    assert publication.client is not None
    assert publication.client.client_id == "c"
    assert publication.client.username == "u"
    assert publication.client.transport == "tcp"
    assert publication.client.remote.startswith("127.0.0.1:")
    assert (publication.topic, publication.payload) == ("t", b"\x00\xff")
    assert (publication.qos, publication.retain) == (1, True)


async def test_qos_2_is_ingested_once_however_often_it_is_sent(bench: Bench) -> None:
    client = await bench.client("c")
    for _ in range(3):
        client.send(publish_packet("t", b"1", qos=2, packet_id=5))
        assert await client.expect(PUBREC) == b"\x00\x05"
    client.send(packet(PUBREL, b"\x00\x05", 2))
    assert await client.expect(PUBCOMP) == b"\x00\x05"
    client.send(publish_packet("t", b"2", qos=2, packet_id=5))
    assert await client.expect(PUBREC) == b"\x00\x05"
    assert [p.payload for p in bench.ingested] == [b"1", b"2"]


# Subscriptions and delivery.


async def test_a_subscriber_gets_each_message_once_with_the_highest_granted_qos(
    bench: Bench,
) -> None:
    client = await bench.client("c")
    assert await client.subscribe("a/#") == b"\x00"
    assert await client.subscribe("a/+", "+/b", qos=2) == b"\x01\x01"
    publisher = await bench.client("publisher")
    await publisher.publish("a/b", b"1")
    assert (await client.message()).qos == 1
    publisher.send(publish_packet("a/b", b"2"))
    assert (await client.message()).qos == 0, "never more than it was sent with"
    await client.nothing_before_pong()


async def test_a_publisher_that_is_subscribed_hears_itself(bench: Bench) -> None:
    client = await bench.client("c")
    await client.subscribe("t")
    client.send(publish_packet("t", b"1"))
    assert (await client.message()).payload == b"1"


async def test_nothing_comes_after_unsubscribing(bench: Bench) -> None:
    client = await bench.client("c")
    await client.subscribe("t", "u")
    client.send(packet(10, b"\x00\x05" + text("t") + text("never had it"), 2))
    assert await client.expect(UNSUBACK) == b"\x00\x05"
    await bench.broker.publish("t", b"1")
    await bench.broker.publish("u", b"2")
    assert (await client.message()).payload == b"2"
    assert bench.broker.stats().subscriptions == 1


async def test_a_refused_subscription_is_said_so_and_delivers_nothing(bench: Bench) -> None:
    bench.refuse["theirs/#"] = REFUSED
    client = await bench.client("c")
    assert await client.subscribe("theirs/#", "mine", "a#", qos=1) == b"\x80\x01\x80"
    await bench.broker.publish("theirs/x", b"1")
    await client.nothing_before_pong()
    assert bench.reasons() == ["foreign_prefix", "bad_filter"]


async def test_what_must_not_be_retained_is_delivered_and_not_kept(bench: Bench) -> None:
    bench.refuse["retain t"] = Refusal(reason="retained_command", detail="not to be kept")
    publisher, reader = await bench.client("p"), await bench.client("r")
    await reader.subscribe("t")
    await publisher.publish("t", b"1", retain=True)
    assert (await reader.message()).payload == b"1", "live, to whoever listens"
    assert bench.reasons() == ["retained_command"]
    assert bench.broker.stats().retained == 0
    await publisher.publish("t", b"", retain=True)
    assert (await reader.message()).payload == b""
    assert bench.reasons() == ["retained_command"], "clearing is never refused"


async def test_a_retained_message_is_replaced_and_cleared(bench: Bench) -> None:
    publisher = await bench.client("publisher")
    await publisher.publish("t", b"1", retain=True)
    await publisher.publish("t", b"2", retain=True)
    first = await bench.client("first")
    await first.subscribe("t", qos=1)
    message = await first.message()
    assert (message.payload, message.retain, message.qos) == (b"2", True, 1)
    await publisher.publish("t", b"", retain=True)
    message = await first.message()
    assert (message.payload, message.retain) == (b"", False), "live to whoever is subscribed"
    second = await bench.client("second")
    await second.subscribe("t")
    await second.nothing_before_pong()


# The center's side.


async def test_the_center_publishes_to_whoever_is_subscribed_and_not_to_its_own_ingest(
    bench: Bench,
) -> None:
    client = await bench.client("c")
    await client.subscribe("fs1/down/c/#", qos=1)
    await bench.broker.publish("fs1/down/c/ack", b"1")
    await bench.broker.publish("fs1/down/c/cmd/ping", b"2", qos=1)
    await bench.broker.publish("fs1/center", b"3", retain=True)
    assert [((await client.message()).qos) for _ in range(2)] == [0, 1]
    await client.subscribe("fs1/center")
    assert (await client.message()).retain
    assert bench.ingested == []
    for topic in ("", "a/#", "$SYS/x"):
        with pytest.raises(BadTopicError):
            await bench.broker.publish(topic, b"")


async def test_a_local_subscription_hears_clients_and_the_center_until_it_is_undone(
    bench: Bench,
) -> None:
    heard: list[Publication] = []
    client = await bench.client("c")
    await client.publish("up/old", b"0", retain=True)
    undo = bench.broker.subscribe_local("up/#", heard.append)
    assert [(p.payload, p.retain, p.client and p.client.client_id) for p in heard] == [
        (b"0", True, "c")
    ]
    await client.publish("up/new", b"1", retain=True)
    await bench.broker.publish("up/own", b"2")
    assert [(p.payload, p.retain, p.client and p.client.client_id) for p in heard[1:]] == [
        (b"1", False, "c"),
        (b"2", False, None),
    ]
    undo()
    undo()
    await client.publish("up/new", b"3")
    assert len(heard) == 3
    with pytest.raises(BadTopicError):
        bench.broker.subscribe_local("a/#/b", heard.append)


async def test_a_local_handler_that_fails_harms_nobody(bench: Bench) -> None:
    def fail(_: Publication) -> None:
        raise RuntimeError("a defect")

    bench.broker.subscribe_local("t", fail)
    client = await bench.client("c")
    await client.subscribe("t")
    client.send(publish_packet("t", b"1", qos=1))
    assert (await client.message()).payload == b"1"
    await client.expect(PUBACK)


async def test_a_kicked_client_is_cut_and_its_will_is_sent(bench: Bench) -> None:
    client = await bench.client("c", will=("will", b"gone"))
    assert bench.broker.kick("c")
    await client.closed()
    assert not bench.broker.kick("c")
    await eventually(lambda: [p.topic for p in bench.ingested] == ["will"])
    assert bench.broker.clients() == ()


async def test_clients_and_stats_tell_what_there_is(bench: Bench) -> None:
    client = await bench.client("c", will=("will", b"gone"))
    await client.subscribe("a", "b")
    ((seen),) = bench.broker.clients()
    assert (seen.client_id, seen.will_topic) == ("c", "will")
    await bench.broker.publish("a", b"1", retain=True)
    await client.message()
    stats = bench.broker.stats()
    assert (stats.connections, stats.clients, stats.subscriptions, stats.retained) == (1, 1, 2, 1)
    assert (stats.connects, stats.delivered, stats.dropped) == (1, 1, 0)
    assert stats.bytes_received > 0
    assert stats.bytes_sent > 0


# Connecting and leaving.


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (connect_packet("c", level=5), 1),
        (connect_packet("c", level=3), 1),
        (connect_packet("", clean=False), 2),
        (connect_packet("refused"), 5),
        (connect_packet("bad-password", username="u", password=b"\xff"), 4),
        (connect_packet("bad-name"), 2),
    ],
)
async def test_a_connect_that_can_not_be_is_told_why(bench: Bench, data: bytes, code: int) -> None:
    bench.refuse["refused"] = REFUSED
    bench.refuse["bad-password"] = Refusal(reason="bad_credentials", detail="no")
    bench.refuse["bad-name"] = Refusal(reason="bad_client_id", detail="no")
    client = await bench.stranger()
    client.send(data)
    assert await client.expect(CONNACK) == bytes([0, code])
    assert await client.closed() == b""
    assert len(bench.rejected) == 1
    assert bench.broker.clients() == ()


async def test_the_gate_sees_name_and_password(bench: Bench) -> None:
    await bench.client("c", username="ü", password=b"\xff\x00")
    ((client, password),) = bench.admitted
    assert (client.username, password) == ("ü", b"\xff\x00")


async def test_an_empty_client_id_gets_one_of_its_own(bench: Bench) -> None:
    for _ in range(2):
        await bench.client("")
    one, two = bench.broker.clients()
    assert one.client_id.startswith("anonymous-")
    assert one.client_id != two.client_id


@pytest.mark.parametrize("orderly", [True, False])
async def test_the_will_is_sent_unless_the_client_says_good_bye(
    bench: Bench, orderly: bool
) -> None:
    watcher = await bench.client("watcher")
    await watcher.subscribe("#")
    client = await bench.client("c", will=("will", b"gone"), will_qos=1, will_retain=True)
    if orderly:
        await client.disconnect()
    else:
        client.cut()
        assert (await watcher.message()).payload == b"gone"
    await watcher.nothing_before_pong()
    assert [(p.client and p.client.client_id, p.qos, p.retain) for p in bench.ingested] == (
        [] if orderly else [("c", 1, True)]
    )
    assert bench.broker.stats().retained == (0 if orderly else 1)


async def test_a_will_passes_the_gate_like_any_publication(bench: Bench) -> None:
    bench.refuse["theirs"] = REFUSED
    client = await bench.client("c", will=("theirs", b"gone"))
    client.cut()
    await eventually(lambda: bench.reasons() == ["foreign_prefix"])
    assert bench.ingested == []


async def test_what_is_sent_before_leaving_still_counts(bench: Bench) -> None:
    client = await bench.stranger()
    client.send(connect_packet("c") + publish_packet("t", b"1") + packet(14))
    client.writer.write_eof()
    await client.closed()
    await eventually(lambda: [p.payload for p in bench.ingested] == [b"1"])


async def test_stopping_closes_everyone_and_sends_no_wills(bench: Bench) -> None:
    clients = [await bench.client(f"c{i}", will=("will", b"gone")) for i in range(5)]
    silent = await bench.stranger()
    await bench.broker.stop()
    for client in (*clients, silent):
        assert await client.closed() == b""
    assert bench.ingested == []
    with pytest.raises(BrokerError):
        _ = bench.broker.port


async def test_stopping_finishes_and_acknowledges_what_is_being_ingested(bench: Bench) -> None:
    held = Held(bench, "t")
    client = await bench.client("c", will=("will", b"gone"))
    client.send(publish_packet("t", b"1", qos=1) + publish_packet("t", b"2", qos=1))
    async with asyncio.timeout(DEADLINE_S):
        await held.begun.wait()
    stopping = asyncio.ensure_future(bench.broker.stop())
    await asyncio.sleep(0)
    held.go_on.set()
    await stopping
    await client.expect(PUBACK)
    assert await client.closed() == b""
    assert [p.payload for p in bench.ingested] == [b"1"]


async def test_stopping_does_not_wait_for_an_ingest_for_ever(bench: Bench) -> None:
    held = Held(bench, "t")
    client = await bench.client("c")
    client.send(publish_packet("t", b"1", qos=1))
    async with asyncio.timeout(DEADLINE_S):
        await held.begun.wait()
        await bench.broker.stop()
    assert await client.closed() == b""
    assert bench.ingested == []


async def test_a_stopped_broker_starts_again(bench: Bench) -> None:
    await bench.client("c")
    await bench.broker.stop()
    await bench.broker.start()
    await (await bench.client("c")).publish("t", b"1")
    with pytest.raises(BrokerError):
        await bench.broker.start()


# With somebody else's client.


async def test_paho_connects_publishes_subscribes_and_dies(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    got: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    client = PahoClient(CallbackAPIVersion.VERSION2, "paho")
    client.will_set("will", b"gone", qos=1)
    subscribed = threading.Event()

    def on_message(_client: object, _userdata: object, message: MQTTMessage) -> None:
        loop.call_soon_threadsafe(got.put_nowait, (message.topic, bytes(message.payload)))

    client.on_message = on_message
    client.on_subscribe = lambda *_: subscribed.set()
    await asyncio.to_thread(client.connect, "127.0.0.1", bench.broker.port)
    client.loop_start()
    try:
        client.subscribe("t/+", qos=1)
        assert await asyncio.to_thread(subscribed.wait, DEADLINE_S)
        await bench.broker.publish("t/x", b"1", qos=1)
        async with asyncio.timeout(DEADLINE_S):
            assert await got.get() == ("t/x", b"1")
        for qos in (0, 1, 2):
            info = client.publish("up", b"%d" % qos, qos=qos)
            await asyncio.to_thread(info.wait_for_publish, DEADLINE_S)
        await eventually(lambda: [p.payload for p in bench.ingested] == [b"0", b"1", b"2"])
        assert bench.broker.kick("paho")
        await eventually(lambda: bench.ingested[-1].topic == "will")
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)


async def test_many_connect_at_once(bench: Bench) -> None:
    async def one(number: int) -> RawClient:
        return await bench.client(f"c{number}")

    await asyncio.gather(*(one(i) for i in range(200)))
    assert len(bench.broker.clients()) == 200
