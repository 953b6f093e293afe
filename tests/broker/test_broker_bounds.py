"""What one client can't do to the broker, and so to the others."""

import asyncio

import pytest
from broker.rawclient import (
    CONNECT,
    PUBACK,
    RawClient,
    connect_packet,
    packet,
    publish_packet,
    subscribe_packet,
    text,
)
from broker.workbench import Bench, MakeBench, eventually
from farshore_center.broker import BrokerSettings, channel


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("not MQTT at all", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("the first packet is not a CONNECT", publish_packet("t", b"x")),
        ("a CONNECT of nothing", packet(CONNECT)),
        ("a client id that is not UTF-8", connect_packet(b"\xff\xfe")),
        ("an endless remaining length", b"\x10\xff\xff\xff\xff\xff"),
    ],
)
async def test_a_stranger_that_speaks_nonsense_is_closed(
    bench: Bench, why: str, data: bytes
) -> None:
    good = await bench.client("good")
    stranger = await bench.stranger()
    stranger.send(data)
    assert await stranger.closed() == b"", why
    await good.publish("t", b"1")
    assert bench.broker.stats().refused == {"malformed": 1}
    assert bench.broker.stats().closed == {"malformed": 1}


@pytest.mark.parametrize(
    ("why", "data", "reason"),
    [
        ("a second CONNECT", connect_packet("bad"), "malformed"),
        ("a reserved packet type", packet(0), "malformed"),
        ("a server's packet", packet(2, b"\0\0"), "malformed"),
        ("QoS 3", packet(3, text("t") + b"\0\1", 6), "malformed"),
        ("a wildcard in a topic", publish_packet("a/#", b"x", qos=1), "malformed"),
        ("no topic", publish_packet("", b"x"), "malformed"),
        ("a topic that is not UTF-8", publish_packet(b"\xff", bytes(40), qos=1), "not_utf8"),
        ("SUBSCRIBE without a filter", packet(8, b"\0\1", 2), "malformed"),
        ("SUBSCRIBE without its flags", packet(8, b"\0\1" + text("a") + b"\0"), "malformed"),
    ],
)
async def test_a_client_that_breaks_the_protocol_is_closed_and_its_will_is_sent(
    bench: Bench, why: str, data: bytes, reason: str
) -> None:
    good = await bench.client("good")
    await good.subscribe("#")
    bad = await bench.client("bad", will=("will", b"gone"))
    bad.send(data)
    assert await bad.closed() == b"", why
    assert (await good.message()).topic == "will"
    await good.nothing_before_pong()
    ((client, _, _, refusal),) = bench.rejected
    assert client is not None
    assert (client.client_id, refusal.reason) == ("bad", reason)
    assert [p.topic for p in bench.ingested] == ["will"]


async def test_the_largest_payload_passes_and_one_byte_more_does_not(make_bench: MakeBench) -> None:
    bench = await make_bench(max_payload_bytes=5_000)
    client = await bench.client("c")
    await client.publish("t", bytes(5_000))
    client.send(publish_packet("t", bytes(5_001), qos=1))
    assert await client.closed() == b""
    assert bench.reasons() == ["too_large"]
    assert len(bench.ingested) == 1


async def test_a_huge_packet_is_refused_before_its_body_is_sent(bench: Bench) -> None:
    client = await bench.client("c")
    client.send(b"\x30\xff\xff\xff\x7f")  # 256 MB to come
    assert await client.closed() == b""
    assert bench.reasons() == ["too_large"]


async def test_one_connection_too_many_is_turned_away(make_bench: MakeBench) -> None:
    bench = await make_bench(max_connections=2)
    first = await bench.client("a")
    await bench.client("b")
    third = await bench.stranger()
    third.send(connect_packet("c"))
    assert await third.closed() == b""
    assert bench.reasons() == ["too_many_connections"]
    await first.disconnect()
    await eventually(lambda: bench.broker.stats().connections == 1)
    await bench.client("c")


async def test_a_connection_without_a_connect_does_not_stay(make_bench: MakeBench) -> None:
    bench = await make_bench(connect_timeout_s=0.1)
    client = await bench.client("c")
    silent = await bench.stranger()
    half = await bench.stranger()
    half.send(connect_packet("half")[:-1])
    assert await silent.closed() == b""
    assert await half.closed() == b""
    await client.nothing_before_pong()
    assert bench.broker.stats().closed == {"connect_timeout": 2}


async def test_filters_and_topics_are_bounded(make_bench: MakeBench) -> None:
    bench = await make_bench(max_subscriptions_per_client=2, max_topic_levels=4, max_topic_bytes=20)
    client = await bench.client("c")
    assert await client.subscribe("a", "b", "c", "a") == b"\x00\x00\x80\x00"
    assert await client.subscribe("+/" * 4 + "#", "x" * 21) == b"\x80\x80"
    await client.publish("1/2/3/4/5", b"")
    await client.publish("x" * 21, b"")
    assert bench.ingested == []
    assert bench.reasons() == [
        "too_many_subscriptions",
        *["topic_too_deep", "topic_too_long"] * 2,
    ]


async def test_a_full_retained_store_still_delivers(make_bench: MakeBench) -> None:
    bench = await make_bench(max_retained_messages=1)
    watcher = await bench.client("watcher")
    await watcher.subscribe("#")
    client = await bench.client("c")
    for topic in ("a", "b"):
        await client.publish(topic, b"1", retain=True)
        assert (await watcher.message()).topic == topic
    assert bench.reasons() == ["retained_full"]
    assert bench.broker.stats().retained == 1
    assert len(bench.ingested) == 2


async def test_a_subscription_to_more_retained_messages_than_the_queue_holds_gets_them_all(
    make_bench: MakeBench,
) -> None:
    bench = await make_bench(max_queued_messages=10, max_inflight=5)
    expected = {f"t/{i}" for i in range(3_000)}
    for topic in expected:
        await bench.broker.publish(topic, bytes(100), qos=1, retain=True)
    client = await bench.client("c")
    await client.subscribe("t/#", qos=1)
    assert {(await client.message()).topic for _ in expected} == expected
    assert bench.broker.stats().dropped == 0


async def slow_and_quick(bench: Bench) -> tuple[RawClient, RawClient]:
    """Two subscribers, one of which never reads again."""
    slow = await bench.client("slow", small_buffer=True, will=("will", b"gone"))
    quick = await bench.client("quick")
    for client in (slow, quick):
        await client.subscribe("t", qos=1)
    slow.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a transport
    return slow, quick


@pytest.mark.parametrize("qos", [0, 1])
async def test_a_client_that_does_not_read_harms_itself_alone(
    make_bench: MakeBench, qos: int
) -> None:
    """QoS 0 is dropped for it; QoS 1 can't be, so it is disconnected. Nobody waits for it."""
    bench = await make_bench(max_queued_messages=20, max_inflight=10)
    _, quick = await slow_and_quick(bench)
    for number in range(150):
        await bench.broker.publish("t", bytes(100_000), qos=qos)
        assert (await quick.message()).qos == qos, number
    stats = bench.broker.stats()
    assert stats.dropped > 20
    if qos == 0:
        assert stats.clients == 2
    else:
        await eventually(lambda: bench.broker.stats().closed == {"slow_consumer": 1})
        await eventually(lambda: [p.topic for p in bench.ingested] == ["will"])


async def test_a_client_that_sends_without_reading_is_cut(make_bench: MakeBench) -> None:
    """Here it does not read what it sends itself, and that is dropped; its PUBACKs can't be."""
    bench = await make_bench(stall_timeout_s=0.2)
    other = await bench.client("other")
    client = await bench.client("c", small_buffer=True)
    await client.subscribe("t")
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a transport
    while not bench.broker.stats().closed:
        client.send(publish_packet("t", bytes(100_000), qos=1))
        await other.nothing_before_pong()  # the broker is there for others meanwhile
    assert bench.broker.stats().closed == {"slow_consumer": 1}


async def test_a_flood_of_one_client_leaves_others_their_turn(bench: Bench) -> None:
    flooder, other = await bench.client("flooder"), await bench.client("other")
    flooder.send(publish_packet("t", b"x", qos=1) * 20_000)
    await eventually(lambda: len(bench.ingested) > 0)
    await other.nothing_before_pong()
    assert len(bench.ingested) < 20_000
    for _ in range(20_000):
        await flooder.expect(PUBACK)


async def test_nothing_is_taken_from_a_client_after_it_was_cut(bench: Bench) -> None:
    client = await bench.client("c")
    client.send(publish_packet("t", b"x") * 20_000 + subscribe_packet("t"))
    await eventually(lambda: len(bench.ingested) > 0)
    bench.broker.kick("c")
    taken = len(bench.ingested)
    await eventually(lambda: bench.broker.stats().connections == 0)
    assert len(bench.ingested) == taken < 20_000
    assert bench.broker.stats().subscriptions == 0


async def test_stopping_does_not_wait_for_a_client_that_does_not_read(bench: Bench) -> None:
    client = await bench.client("c", small_buffer=True)
    await client.subscribe("t")
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a transport
    while bench.broker.stats().dropped == 0:
        await bench.broker.publish("t", bytes(100_000))
        client.send(publish_packet("t", b"", qos=1))
        await (await bench.client("")).disconnect()  # the broker has its turn
    async with asyncio.timeout(2):  # the bench's stop_timeout_s is 1.0
        await bench.broker.stop()


class Unread(asyncio.Transport):
    """A transport whose peer does not read what is left in its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = asyncio.Event()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 1

    def close(self) -> None:
        pass

    def abort(self) -> None:
        self.aborted.set()


async def test_a_closed_connection_is_not_kept_for_a_peer_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel, "LINGER_S", 0.01)
    transport = Unread()
    tcp = channel.TcpChannel(lambda _: None, lambda _: None)
    tcp.connection_made(transport)
    tcp.close()
    async with asyncio.timeout(1):
        await transport.aborted.wait()


async def test_subscriptions_end_with_their_connection(bench: Bench) -> None:
    for _ in range(3):
        client = await bench.client("c")
        client.send(subscribe_packet(*(f"t/{i}/+" for i in range(50))))
        await client.receive()
        client.cut()
        await eventually(lambda: bench.broker.stats().connections == 0)
    assert bench.broker.stats().subscriptions == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 70_000),
        ("keepalive_grace", 0.5),
        ("max_connections", 0),
        ("connect_timeout_s", 0),
        ("max_inflight", 40_000),
    ],
)
def test_a_setting_out_of_bounds_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: .*expected"):
        BrokerSettings(**{name: value})  # type: ignore[arg-type]  # wrong on purpose
