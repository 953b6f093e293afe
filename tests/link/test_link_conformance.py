"""What every ``Link`` promises, whatever broker is behind it."""

import asyncio
import threading
from dataclasses import replace

import pytest
from farshore_protocol.link import Message
from link.brokers import Broker
from link.conftest import MakePeer
from link.peer import PATIENCE_S


def said(topic: str, payload: bytes = b"x", *, qos: int = 1, retain: bool = False) -> Message:
    return Message(topic=topic, payload=payload, qos=qos, retain=retain)


WILDCARDS = [
    pytest.param("a/b", {"a/b"}, id="no wildcard: the topic itself"),
    pytest.param("a/+", {"a/b", "a/c"}, id="plus: one level, not two and not none"),
    pytest.param("a/#", {"a", "a/b", "a/c", "a/b/c"}, id="hash: the level itself and all below"),
    pytest.param("+/b/+", {"a/b/c"}, id="two pluses"),
    pytest.param("#", {"a", "a/b", "a/c", "a/b/c", "b"}, id="hash alone: everything"),
]


@pytest.mark.parametrize(("topic_filter", "expected"), WILDCARDS)
async def test_a_filter_gets_what_it_matches(
    make_peer: MakePeer, topic_filter: str, expected: set[str]
) -> None:
    listener = await make_peer("listener", topic_filter).start()
    for topic in ("a", "a/b", "a/c", "a/b/c", "b"):
        assert listener.link.publish(said(topic))
    # By the same filter, because not every broker keeps an order across filters; and to some
    # "a/#" is two of them: "a", and what is below.
    assert listener.link.publish(said(max(expected), b"end"))

    def topics() -> set[str]:
        return {message.topic for message in listener.messages if message.payload != b"end"}

    await listener.until(lambda: b"end" in listener.payloads and topics() >= expected)
    assert topics() == expected


async def test_filters_of_one_client_are_each_in_order(broker: Broker, make_peer: MakePeer) -> None:
    listener = await make_peer("listener", "t/0", "t/1").start()
    sender = await make_peer("sender").start()
    sent = [b"%d" % number for number in range(200)]
    for number, payload in enumerate(sent):
        assert sender.link.publish(said(f"t/{number % 2}", payload))
    await listener.until(lambda: len(listener.messages) == len(sent))
    for each in (0, 1):
        heard = [m.payload for m in listener.messages if m.topic == f"t/{each}"]
        assert heard == sent[each::2]
    if broker.orders_across_filters:
        assert listener.payloads == sent


async def test_a_will_at_a_take_over(broker: Broker, make_peer: MakePeer) -> None:
    """Farshore needs it neither way: ``boot`` and ``conn`` tell whose word it is."""
    watcher = await make_peer("watcher", "t/#").start()
    older = make_peer("same")
    older.will_of = lambda conn: said("t/will", b"%d" % conn)
    await older.start()
    newer = await make_peer("same").start()
    await older.until(lambda: older.downs == 1)
    await older.end()
    await newer.until(lambda: newer.link.connected)
    newer.link.publish(said("t/end", b"end"))
    await watcher.until(lambda: b"end" in watcher.payloads)
    assert (b"1" in watcher.payloads) == broker.will_at_take_over


async def test_messages_of_one_sender_keep_their_order_and_content(make_peer: MakePeer) -> None:
    listener = await make_peer("listener", "t/#").start()
    sender = await make_peer("sender").start()
    for number in range(300):
        assert sender.link.publish(said("t/x", b"%d" % number, qos=number % 2))
    await listener.until(lambda: len(listener.messages) == 300)
    by_qos = [[m.payload for m in listener.messages if m.qos == qos] for qos in (0, 1)]
    assert by_qos == [[b"%d" % n for n in range(300) if n % 2 == qos] for qos in (0, 1)]


async def test_what_is_retained_comes_with_the_subscription_and_says_so(
    make_peer: MakePeer,
) -> None:
    early = await make_peer("early", "t/+").start()
    early.link.publish(said("t/kept", b"1", retain=True))
    early.link.publish(said("t/gone", b"2", retain=True))
    early.link.publish(said("t/gone", b"", retain=True))
    early.link.publish(said("t/end"))
    await early.until(lambda: len(early.messages) == 4)
    assert not any(message.retain for message in early.messages), "to a subscriber it was live"

    late = await make_peer("late", "t/+").start()
    late.link.publish(said("t/end"))
    await late.until(lambda: len(late.messages) == 2)
    assert [(m.topic, m.payload, m.retain) for m in late.messages] == [
        ("t/kept", b"1", True),
        ("t/end", b"x", False),
    ]


async def test_link_up_comes_before_the_first_message_and_after_every_subscription(
    make_peer: MakePeer,
) -> None:
    sender = await make_peer("sender", "t/#").start()
    sender.link.publish(said("t/retained", retain=True))
    await sender.until(lambda: len(sender.messages) == 1)

    listener = make_peer("listener", *(f"t/{n}" for n in range(20)), "t/retained")

    def publish_to_itself() -> None:
        for n in range(20):
            listener.link.publish(said(f"t/{n}"))

    listener.at_up = publish_to_itself
    listener.run()
    await listener.until(lambda: len(listener.messages) == 21)
    assert listener.heard[0] == ("up", 1)


async def test_an_abrupt_loss_publishes_the_will_and_an_orderly_close_does_not(
    make_peer: MakePeer,
) -> None:
    watcher = await make_peer("watcher", "will/#", "end").start()
    dies = await make_peer("dies", will=said("will/dies", retain=True)).start()
    dies.link.reconnect("cut by the test")
    await watcher.until(lambda: any(m.topic == "will/dies" for m in watcher.messages))
    await dies.until(lambda: dies.ups == 2)
    assert dies.reasons == ["cut by the test"]

    leaves = await make_peer("leaves", will=said("will/leaves")).start()
    await leaves.end()
    # The same client again: whatever the broker had to do about its older session is done by then.
    again = await make_peer("leaves").start()
    again.link.publish(said("end"))
    await watcher.until(lambda: any(m.topic == "end" for m in watcher.messages))
    assert {message.topic for message in watcher.messages} == {"will/dies", "end"}


@pytest.mark.parametrize("qos", [0, 1])
async def test_the_farewell_is_the_last_word_and_is_kept(make_peer: MakePeer, qos: int) -> None:
    watcher = await make_peer("watcher", "t").start()
    leaves = await make_peer("leaves", will=said("t", b"will")).start()
    leaves.link.publish(said("t", b"last but one", qos=qos))
    await leaves.link.close(said("t", b"farewell", qos=qos, retain=True))
    await watcher.until(lambda: len(watcher.messages) == 2)
    assert watcher.payloads == [b"last but one", b"farewell"]
    assert leaves.heard == [("up", 1), ("down", 1)]
    assert leaves.reasons == ["closed"]

    late = await make_peer("late", "t").start()
    await late.until(lambda: len(late.messages) == 1)
    assert late.messages == [said("t", b"farewell", qos=qos, retain=True)]


async def test_a_second_client_of_the_same_name_takes_over_and_both_live_on(
    make_peer: MakePeer,
) -> None:
    older = await make_peer("same", "t").start()
    newer = await make_peer("same", "t").start()
    await older.until(lambda: older.downs >= 1)
    # Each comes back and throws the other out, until one of them is told to stop.
    await newer.until(lambda: newer.downs >= 1)
    await older.end()
    await newer.until(lambda: newer.link.connected)
    newer.link.publish(said("t", b"alive"))
    await newer.until(lambda: b"alive" in newer.payloads)


async def test_publish_says_false_where_there_is_no_connection(
    broker: Broker, make_peer: MakePeer
) -> None:
    peer = make_peer("peer", "t")
    assert not peer.link.publish(said("t"))
    await peer.start()
    assert peer.link.publish(said("t"))
    await broker.kill()
    await peer.until(lambda: peer.downs == 1)
    assert not peer.link.connected
    assert not peer.link.publish(said("t"))
    await peer.link.close()
    assert not peer.link.publish(said("t"))


async def test_it_comes_back_after_the_broker_was_killed_with_a_new_session_and_will(
    broker: Broker, make_peer: MakePeer
) -> None:
    peer = make_peer("peer", "t/+")
    peer.will_of = lambda conn: said("t/will", b"%d" % conn)
    await peer.start()
    await broker.kill()
    await peer.until(lambda: peer.downs == 1 and len(peer.sessions) >= 3)
    await broker.start()
    await peer.until(lambda: peer.ups == 2)
    assert peer.sessions == list(range(1, len(peer.sessions) + 1)), "each attempt counts"
    assert peer.heard == [("up", 1), ("down", 1), ("up", peer.sessions[-1])]

    watcher = await make_peer("watcher", "t/+").start()
    conn = peer.sessions[-1]
    peer.link.reconnect("cut by the test")
    await watcher.until(lambda: watcher.payloads == [b"%d" % conn])
    await peer.until(lambda: peer.ups == 3)
    peer.link.publish(said("t/x"))
    await peer.until(lambda: any(message.topic == "t/x" for message in peer.messages))


async def test_a_handler_that_raises_costs_nothing(
    make_peer: MakePeer, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_what: object) -> None:
        raise RuntimeError("a defect of the handler")

    peer = make_peer("peer", "t")
    peer.at_up, peer.at_message = fail, fail
    await peer.start()
    for payload in (b"1", b"2"):
        assert peer.link.publish(said("t", payload))
    await peer.until(lambda: peer.payloads == [b"1", b"2"])
    peer.link.reconnect("again")
    await peer.until(lambda: peer.ups == 2)
    assert len([r for r in caplog.records if r.message == "the link's handler failed"]) == 4


async def test_a_message_of_100_kilobytes_arrives(make_peer: MakePeer) -> None:
    peer = await make_peer("peer", "t").start()
    payload = bytes(range(256)) * 400
    for qos in (0, 1):
        assert peer.link.publish(said("t", payload, qos=qos))
    await peer.until(lambda: len(peer.messages) == 2)
    assert peer.payloads == [payload, payload]


async def test_close_before_run_and_twice(broker: Broker, make_peer: MakePeer) -> None:
    peer = make_peer("peer")
    async with asyncio.timeout(PATIENCE_S):
        await peer.link.close(said("t"))
        await peer.run()
        await peer.link.close()
    assert peer.heard == []


async def test_close_while_the_broker_is_away(broker: Broker, make_peer: MakePeer) -> None:
    await broker.kill()
    peer = make_peer("peer")
    task = peer.run()
    await peer.until(lambda: len(peer.sessions) >= 2)
    async with asyncio.timeout(1.0):
        await peer.link.close(said("t"))
        await task
    assert peer.heard == []


async def test_close_at_any_moment_of_connecting_ends_well(
    broker: Broker, make_peer: MakePeer
) -> None:
    """However far the connection has come: one turn of the loop, two turns, ..."""
    for turns in range(0, 24):
        peer = make_peer(f"peer{turns}", "t", will=said("will"))
        task = peer.run()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            await peer.link.close(said("t"))
            await task
        peer.check_story()


async def test_cancelling_run_loses_the_connection_and_says_so(make_peer: MakePeer) -> None:
    watcher = await make_peer("watcher", "will").start()
    peer = make_peer("peer", "t", will=said("will"))
    task = peer.run()
    await peer.until(lambda: peer.ups == 1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert peer.heard == [("up", 1), ("down", 1)]
    assert not peer.link.connected
    assert not peer.link.publish(said("t"))
    await watcher.until(lambda: len(watcher.messages) == 1)


async def test_fifty_links_start_no_threads_and_all_hear(
    broker: Broker, make_peer: MakePeer
) -> None:
    threads = threading.active_count()
    peers = [await make_peer(f"peer{n}", "t").start() for n in range(50)]
    assert threading.active_count() == threads
    peers[0].link.publish(said("t"))
    for peer in peers:
        await peer.until_messages(1)
    assert {replace(peer.messages[0], qos=1) for peer in peers} == {said("t")}
