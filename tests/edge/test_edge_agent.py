"""The whole agent on an in-memory bus, with a small center that is written in the test."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import orjson
import pytest
from edge.edge_bench import FailingDatabase, eventually
from farshore_edge.app import Agent
from farshore_edge.outbox import Outbox
from farshore_edge.settings import load
from farshore_protocol.clock import SystemClock
from farshore_protocol.link import BackoffSettings, Message
from farshore_protocol.link.memory import MemoryBus, MemoryLink
from farshore_protocol.telemetry import inflate


class Sensor:
    name = "sensor"

    def sample(self) -> dict[str, float]:
        return {"sensor.x": 1.0}


class Machine:
    def __init__(self) -> None:
        self.broken = False

    def collectors(self) -> list[Sensor]:
        return [Sensor()]

    def facts(self) -> dict[str, Any]:
        if self.broken:
            raise OSError("no such machine")
        return {"cpu": {"cores": 4}}


class World:
    """A bus, a node on it, and a center that acknowledges as long as it is told to."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.bus.tap = self._tap
        self.seen: list[Message] = []
        self.acknowledges = True
        self.disk = FailingDatabase()
        self.machine = Machine()

    def start(self, **settings: Any) -> Agent:
        flags = {
            "node": "n1",
            "group": "eu/hamburg/line3",
            "sample_interval_s": 0.1,
            "batch_s": 0.1,
            "dev": True,
            "stop_grace_s": 1,
        }
        backoff = BackoffSettings(first_s=0.01, max_s=0.02)
        clock, rng = SystemClock(), random.Random(1)
        self.agent = Agent(
            load({**flags, **settings}, {}).settings,
            machine=self.machine,
            database=self.disk,
            link=MemoryLink(self.bus, clock=clock, rng=rng, backoff=backoff),
            clock=clock,
            rng=rng,
        )
        self.running = asyncio.create_task(self.agent.run())
        return self.agent

    def _tap(self, client_id: str | None, message: Message) -> None:
        if client_id is None:
            return
        self.seen.append(message)
        kind = message.topic.split("/")[3]
        if kind == "birth" and self.acknowledges:
            streams = orjson.loads(message.payload)["streams"]
            self.say(
                "ack", {s: {"epoch": h["epoch"], "head": h["head"]} for s, h in streams.items()}
            )
        if kind in ("res", "evt", "rep", "tel") and self.acknowledges:
            stream = {"res": "results", "evt": "events", "rep": "reports", "tel": "metrics"}[kind]
            word = orjson.loads(inflate(message.payload))
            ranges = [[word["seq"], word["seq"]]]
            self.say("ack", {stream: {"epoch": word["epoch"], "ranges": ranges}})

    def say(self, what: str, word: Any, *, retain: bool = False) -> None:
        payload = word if isinstance(word, bytes) else orjson.dumps(word)
        topic = what if what.startswith("fs1/") else f"fs1/down/n1/{what}"
        self.bus.publish(Message(topic=topic, payload=payload, qos=1, retain=retain))

    def words(self, kind: str) -> list[dict[str, Any]]:
        mine = [m for m in self.seen if m.topic.startswith(f"fs1/up/n1/{kind}")]
        return [orjson.loads(inflate(m.payload)) for m in mine]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.agent.stop()
    await made.running


async def test_it_says_who_it_is_what_it_is_and_how_it_fares(world: World) -> None:
    world.start()
    await eventually(lambda: world.words("tel/host") and world.words("rep/facts"))
    assert [m.topic.split("/")[3] for m in world.seen[:3]] == ["presence", "birth", "time"]
    [birth] = world.words("birth")
    assert birth["group"] == "eu/hamburg/line3"
    assert set(birth["capabilities"]["verbs"]) == {
        "cancel",
        "config-override",
        "config-retry",
        "diagnose",
        "exec",
        "facts",
        "file-read",
        "file-write",
        "link-test",
        "logs",
        "net-probe",
        "ping",
        "processes",
        "services",
        "status",
        "verbs",
    }
    [report] = world.words("rep/facts")
    assert report["facts"] == {"cpu": {"cores": 4}}
    assert report["digest"].startswith("sha256:")
    await eventually(lambda: world.disk.streams()["metrics"].head > 1)
    await eventually(lambda: world.disk.streams()["reports"].kept == ())


@pytest.mark.parametrize(
    "topic",
    [
        "fs1/down/n1/cmd/ping",
        "fs1/group/eu/cmd/ping",
        "fs1/group/eu~hamburg/cmd/ping",
        "fs1/group/eu~hamburg~line3/cmd/ping",
        "fs1/group/all/cmd/ping",
    ],
)
async def test_a_command_reaches_it_by_its_name_and_by_each_of_its_groups(
    world: World, topic: str
) -> None:
    agent = world.start()
    await eventually(lambda: agent.connected)
    world.say(topic, {"id": "c1"})
    await eventually(lambda: world.words("res/c1"))
    assert world.words("res/c1")[0]["state"] == "succeeded"


async def test_other_groups_and_retained_commands_do_not(world: World) -> None:
    world.say("cmd/ping", {"id": "old"}, retain=True)
    agent = world.start()
    await eventually(lambda: agent.connected)
    world.say("fs1/group/us/cmd/ping", {"id": "c1"})
    world.say("cmd/ping", {"id": "c2"})
    await eventually(lambda: world.words("res/c2"))
    assert not world.words("res/c1")
    assert not world.words("res/old")
    await eventually(lambda: world.words("evt/refused"))
    [told] = world.words("evt/refused")
    assert told["data"]["topic"] == "fs1/down/n1/cmd/ping"
    assert told["data"]["reason"] == "retained"
    assert "mosquitto_pub -r -n -t fs1/down/n1/cmd/ping" in told["data"]["detail"]


@pytest.mark.parametrize("topic", ["cmd/PING", "cmd/ping/now", "ping", "fs1/group/eu/cmd/Ping"])
async def test_a_topic_that_is_none_is_told_of(world: World, topic: str) -> None:
    agent = world.start()
    await eventually(lambda: agent.connected)
    world.say(topic, {})
    await eventually(lambda: world.words("evt/refused"))
    [told] = world.words("evt/refused")
    assert told["data"]["topic"].endswith(topic)
    assert told["data"]["reason"] == "bad_topic"


async def test_a_command_to_a_group_says_to_which(world: World) -> None:
    agent = world.start()
    await eventually(lambda: agent.connected)
    world.say("fs1/group/eu~hamburg/cmd/ping", {})
    await eventually(lambda: world.words("res/group-"))
    assert world.words("res/group-")[0]["by_hand"] == {"group": "eu/hamburg", "args": {}}


@pytest.mark.parametrize(
    "word", [b"", b"{", b"\xff", b"[" * 90_000, b"null", b"[]", b'{"metrics":5}']
)
@pytest.mark.parametrize(
    "topic",
    ["ack", "time", "error", "cmd/ping", "cmd/NO", "nonsense", "fs1/center", "fs1/up/n1/presence"],
)
async def test_no_message_can_harm_it(world: World, topic: str, word: bytes) -> None:
    agent = world.start()
    await eventually(lambda: agent.connected)
    world.say(topic, word)
    world.say("cmd/ping", {"id": "c1"})
    await eventually(lambda: world.words("res/c1"))
    assert not world.running.done()


async def test_facts_that_fail_do_not_stop_it_and_are_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farshore_edge.facts.reporter.RETRY_S", 0.01)
    world.machine.broken = True
    world.start()
    await eventually(lambda: world.words("tel/host"))
    assert not world.running.done()
    world.machine.broken = False
    await eventually(lambda: world.words("rep/facts"))


async def test_a_disk_that_fails_for_a_while_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    defaults = Outbox.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "retry_s", 0.01)
    agent = world.start()
    await eventually(lambda: world.words("tel/host"))
    world.disk.commits_fail = world.disk.reads_fail = True
    refused = world.disk.refused
    await eventually(lambda: world.disk.refused > refused + 1)
    assert not world.running.done()
    world.disk.commits_fail = world.disk.reads_fail = False
    await eventually(lambda: agent.outbox.queues()["metrics"].head >= 5, deadline_s=15)
    await eventually(
        lambda: (
            {w["seq"] for w in world.words("tel/host")}
            >= set(range(1, agent.outbox.queues()["metrics"].head))
        )
    )
    assert world.disk.losses() == []


async def test_a_cut_link_loses_nothing_and_its_numbers_grow(world: World) -> None:
    agent = world.start()
    await eventually(lambda: world.words("tel/host"))
    world.bus.set_up(False)
    before = agent.outbox.queues()["metrics"].head
    await eventually(lambda: agent.outbox.queues()["metrics"].head >= before + 2)
    world.bus.set_up(True)
    await eventually(lambda: any(w.get("hist") for w in world.words("tel/host")))
    conns = [word["conn"] for word in world.words("birth")]
    assert len(conns) == 2
    assert conns[0] < conns[1]
    states = [(w["state"], w["conn"]) for w in world.words("presence")]
    assert states == [("online", conns[0]), ("offline", conns[0]), ("online", conns[1])]


async def test_a_backlog_takes_the_share_of_the_window_that_is_set(world: World) -> None:
    agent = world.start(backlog_share=0.5, sample_interval_s=3600, batch_s=3600)
    await eventually(lambda: world.words("rep/facts"))
    world.bus.set_up(False)
    await eventually(lambda: not agent.connected)
    for number in range(40):
        await agent.outbox.append("events", "evt/old", {"data": {"n": number}})
    world.acknowledges = False
    world.bus.set_up(True)
    await eventually(lambda: len(world.words("birth")) == 2)
    streams = world.words("birth")[-1]["streams"]
    world.say("ack", {s: {"epoch": h["epoch"], "head": h["head"]} for s, h in streams.items()})
    await eventually(lambda: len(world.words("evt/old")) >= 16)
    await agent.outbox.append("events", "evt/live", {"data": {}})
    await eventually(lambda: world.words("evt/live"))
    assert len(world.words("evt/old")) == 16, "half of 32; the default would send 9"


async def test_a_false_offline_is_repaired_once_it_is_seen(world: World) -> None:
    agent = world.start()
    await eventually(lambda: agent.connected)
    world.say("fs1/up/n1/presence", {"state": "offline", "boot": agent.boot, "conn": 1})
    await eventually(lambda: len(world.words("presence")) == 2)
    assert world.words("presence")[1]["state"] == "online"


async def test_a_center_that_comes_to_a_connected_node_hears_its_birth(world: World) -> None:
    agent = world.start()
    await eventually(lambda: agent.connected and world.words("birth"))

    def online(epoch: str) -> None:
        world.say("fs1/center", {"state": "online", "epoch": epoch}, retain=True)

    for births, epoch in enumerate(("e1", "e2"), start=2):
        online(epoch)
        online(epoch)  # the same center, once more
        world.say("cmd/ping", {"id": epoch})
        await eventually(partial(world.words, f"res/{epoch}"))
        assert len(world.words("birth")) == births


async def test_what_was_said_of_its_last_life_is_no_false_word(world: World) -> None:
    old = {"state": "offline", "boot": "before", "conn": 3}
    world.say("fs1/up/n1/presence", old, retain=True)
    world.start()
    await eventually(lambda: world.words("tel/host"))
    assert len(world.words("presence")) == 1


async def test_an_orderly_stop_flushes_ends_commands_and_says_offline_last() -> None:
    world = World()
    agent = world.start(sample_interval_s=0.1, batch_s=3600)
    await eventually(lambda: agent._sampler._offsets and agent.connected)
    world.say("cmd/exec", {"id": "c1", "args": {"argv": ["sleep", "600"]}})
    await eventually(lambda: world.words("res/c1"))
    async with asyncio.timeout(8):
        await agent.stop()
        await world.running
    assert world.words("tel/host"), "what was sampled"
    assert world.words("res/c1")[-1]["state"] == "interrupted"
    assert world.words("presence")[-1]["state"] == "offline"
    assert world.seen[-1].topic == "fs1/up/n1/presence"
    assert world.disk.streams()["metrics"].kept == ()


async def test_an_orderly_stop_waits_for_the_batch_that_is_being_written() -> None:
    """The sampler is ended while the disk takes its time: its batch is sent all the same."""
    world = World()
    agent = world.start(sample_interval_s=0.1, batch_s=0.1, spill_after_s=0)
    await eventually(lambda: world.words("tel/host"))
    world.disk.gate.clear()
    head = agent.outbox._streams["metrics"].head
    await eventually(lambda: agent.outbox._streams["metrics"].head > head)
    stopping = asyncio.create_task(agent.stop())
    await eventually(lambda: "sampler" not in agent._parts)
    await asyncio.sleep(0)
    world.disk.gate.set()
    async with asyncio.timeout(8):
        await stopping
        await world.running
    assert world.disk.streams()["metrics"].kept == ()
    assert world.words("presence")[-1]["state"] == "offline"


async def test_a_part_that_breaks_ends_the_agent_so_that_it_is_started_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    agent = world.start()
    await eventually(lambda: agent.connected)
    agent._sampler.take = None  # type: ignore[assignment, method-assign] # a defect of ours
    with caplog.at_level(logging.CRITICAL):
        async with asyncio.timeout(5):
            await world.running
    assert any(vars(record).get("part") == "sampler" for record in caplog.records)
    await agent.stop()
