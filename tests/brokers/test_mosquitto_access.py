"""The rendered access rule of Mosquitto, by delivery: who hears what, and who is heard."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from farshore_protocol.link import Message
from farshore_protocol.topics import CENTER_FILTERS, node_filters
from link.brokers import Mosquitto, mqtt_link
from link.peer import Peer


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker")
    await broker.start()
    yield broker
    await broker.stop()


@pytest.fixture
async def center(broker: Mosquitto) -> AsyncIterator[Peer]:
    center = await Peer(broker.link(), "center-1", *CENTER_FILTERS).start()
    yield center
    await center.end()


def said(topic: str, *, retain: bool = False) -> Message:
    return Message(topic=topic, payload=topic.encode(), qos=1, retain=retain)


async def test_a_node_writes_only_below_its_own_prefix(broker: Mosquitto, center: Peer) -> None:
    will = said("fs1/up/pi-1/presence", retain=True)
    node = await Peer(mqtt_link(broker.nodes_port), "pi-1", will=will).start()
    own = ["fs1/up/pi-1/birth", "fs1/up/pi-1/dev/plc/tel/host", "fs1/up/pi-1/res/abc"]
    foreign = ["fs1/up/pi-2/birth", "fs1/up/pi-11/birth", "fs1/up", "fs1/down/pi-1/cmd/ping"]
    foreign += ["fs1/center", "fs1/group/all/cmd/ping", "elsewhere"]
    everything = await Peer(broker.link(), "operator", "#").start()
    for topic in [*foreign, *own]:
        assert node.link.publish(said(topic))
    await center.until_messages(len(own))
    assert [message.topic for message in center.messages] == own
    node.link.reconnect("cut by the test")
    await center.until_messages(len(own) + 1)
    assert center.messages[-1].topic == will.topic, "its will is its own word as well"
    await everything.until_messages(len(own) + 1)
    assert {message.topic for message in everything.messages} == {*own, will.topic}
    for peer in (node, everything):
        await peer.end()


async def test_a_node_hears_only_its_own_its_groups_and_the_center(
    broker: Mosquitto, center: Peer
) -> None:
    filters = (*node_filters("pi-1", "eu/hamburg"), "fs1/up/pi-1/presence")
    node = await Peer(mqtt_link(broker.nodes_port), "pi-1", *filters).start()
    nosy = await Peer(mqtt_link(broker.nodes_port), "pi-2", "#", "fs1/down/pi-1/#").start()
    for topic in (
        "fs1/down/pi-1/cmd/ping",
        "fs1/down/pi-1/file/0a1b/7",
        "fs1/group/eu~hamburg/cmd/ping",
        "fs1/group/all/cmd/ping",
        "fs1/up/pi-1/presence",
        "fs1/up/pi-1/tel/host",
        "elsewhere",
        "fs1/center",
    ):
        assert center.link.publish(said(topic))
    await node.until_messages(6)
    assert {message.topic for message in node.messages} == {
        "fs1/down/pi-1/cmd/ping",
        "fs1/down/pi-1/file/0a1b/7",
        "fs1/group/eu~hamburg/cmd/ping",
        "fs1/group/all/cmd/ping",
        "fs1/up/pi-1/presence",
        "fs1/center",
    }
    await nosy.until(lambda: any(m.topic == "fs1/center" for m in nosy.messages))
    assert {message.topic for message in nosy.messages} == {
        "fs1/group/eu~hamburg/cmd/ping",  # what groups are told is no secret from other nodes
        "fs1/group/all/cmd/ping",
        "fs1/center",
    }
    for peer in (node, nosy):
        await peer.end()


@pytest.mark.parametrize("client_id", ["+", "#", "pi-1/#"])
async def test_a_client_id_is_no_wildcard(broker: Mosquitto, center: Peer, client_id: str) -> None:
    filters = ("fs1/down/pi-1/#", f"fs1/down/{client_id}", "fs1/center")
    sly = await Peer(mqtt_link(broker.nodes_port), client_id, *filters).start()
    sly.link.publish(said("fs1/up/pi-1/birth"))
    center.link.publish(said("fs1/down/pi-1/cmd/ping"))
    center.link.publish(said("fs1/center"))
    await sly.until_messages(1)
    honest = await Peer(mqtt_link(broker.nodes_port), "pi-2").start()
    honest.link.publish(said("fs1/up/pi-2/birth"))
    await center.until_messages(1)
    assert center.payloads == [b"fs1/up/pi-2/birth"]
    assert sly.payloads == [b"fs1/center"]
    for peer in (sly, honest):
        await peer.end()
