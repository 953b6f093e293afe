"""What a node is told by, and tells, a center on a real server: marks, wishes, a disk gone back."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from center.conftest import MakeNode
from center.running import BOOT, EPOCH, PahoNode, RunningCenter, batch, settings_for, until
from farshore_center.settings import SettingsError, read_settings
from farshore_center.wishes import Wishes


@pytest.fixture
async def wishing(tmp_path: Path) -> AsyncIterator[RunningCenter]:
    settings = replace(settings_for(tmp_path / "center"), wishes=Wishes(rate=5.0, hold_s=30.0))
    running = RunningCenter(settings)
    await running.start()
    yield running
    await running.stop()


async def test_nodes_are_told_the_wishes(wishing: RunningCenter) -> None:
    node = PahoNode(wishing.port, "pi-1")
    await node.ready()
    node.client.subscribe("fs1/center", 1)
    await until(lambda: [m for m in node.answers if m[0] == "fs1/center"], "the center's word")
    word = wishing.center.state(True).payload
    assert [payload for topic, payload in node.answers if topic == "fs1/center"] == [word]
    assert b'"rate":5.0,"hold_s":30.0' in word
    node.leave()


@pytest.mark.parametrize("wish", [{"rate": 0}, {"rate": -1}, {"hold_s": -1}, {"hold_s": 1e9}])
def test_a_wish_that_makes_no_sense_is_refused(tmp_path: Path, wish: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match="expected"):
        read_settings(
            data=tmp_path,
            http="127.0.0.1:1",
            mqtt="127.0.0.1:2",
            database=None,
            dev=True,
            log_level="INFO",
            rate=wish.get("rate"),
            hold_s=wish.get("hold_s"),
        )


async def test_each_commit_moves_the_mark_in_the_acknowledgement(
    running: RunningCenter, make_node: MakeNode
) -> None:
    node = await make_node("pi-1")
    await node.birth()
    generations = []
    for seq in (1, 2, 3):
        await node.publish("tel/host", batch(seq))
        await until(partial(node.acknowledged, "metrics", seq))
        database, epoch, generation = node.got("ack")[-1]["metrics"]["center"]
        generations.append(generation)
    assert generations == sorted(set(generations))
    found = await running.get("/center")
    assert (found["database"], found["epoch"]) == (database, epoch)
    assert (found["generation"], found["state"]) == (generations[-1], "normal")


async def test_a_node_that_is_ahead_is_asked_at_once_and_told_why(
    running: RunningCenter, make_node: MakeNode
) -> None:
    node = await make_node("pi-1")
    identity = running.center.identity
    ahead = [identity.database, "never", 99]
    heads = {"metrics": {"epoch": EPOCH, "head": 9, "records": 2}}
    await asyncio.gather(*(node.birth(conn=n, center=ahead, streams=heads) for n in (1, 2)))
    await until(lambda: node.got("ack"))
    word = node.got("ack")[0]["metrics"]
    assert (word["resend"], word["because"], word["head"]) == ([[1, 9]], "restored", 9)
    kinds = [event["kind"] for event in (await running.get("/events", kind="center.*"))["items"]]
    assert kinds == ["center.restored", "center.node_ahead"], "once, however often it is said"
    (item,) = (await running.get("/center"))["nodes_ahead"]
    assert item["streams"] == [
        {"stream": "metrics", "epoch": EPOCH, "head": 9, "ranges": [[1, 9]], "kept": 2}
    ]


async def test_a_disk_that_went_back_is_seen_once_a_boot(
    running: RunningCenter, make_node: MakeNode
) -> None:
    node = await make_node("pi-1")
    await node.birth(streams={"metrics": {"epoch": EPOCH, "head": 9}})
    older = {"metrics": {"epoch": EPOCH, "head": 4}}
    await node.birth(streams=older)  # a late copy
    await node.birth(streams=older, boot=BOOT + "2")

    async def told() -> bool:
        return bool((await running.get("/events", kind="stream.behind"))["items"])

    await until(told, "the event")
    (event,) = (await running.get("/events", kind="stream.behind"))["items"]
    assert (event["data"]["head"], event["data"]["known_head"]) == (4, 9)
    assert [ack["metrics"]["head"] for ack in node.got("ack")] == [9, 9, 9]
    assert (await running.get("/center"))["state"] == "normal"


async def test_a_stranger_is_no_restore(running: RunningCenter, make_node: MakeNode) -> None:
    node = await make_node("pi-1")
    await node.birth(center=["another", "epoch", 10**9])
    await until(lambda: node.got("ack"))
    assert (await running.get("/center"))["state"] == "normal"
    answer = (await running.http.post("/api/v1/center/resume")).json()
    assert (answer["state"], answer["released_commands"]) == ("normal", 0)
