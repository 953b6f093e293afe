"""Whatever comes in over MQTT is counted, listed with its reason, answered, and stops nothing."""

import json
import zlib
from functools import partial
from typing import Any

import pytest
from center.conftest import MakeNode
from center.running import EPOCH, RunningCenter, batch, birth, now_ms, record, until

YEAR_MS = 365 * 86_400_000


def telemetry(**more: Any) -> bytes:
    return json.dumps({**batch(1), **more}).encode()


def with_text(text: str) -> bytes:
    """A batch with something in place of a value that ``json`` would not write."""
    return telemetry(m={"x": [1, "@@"]}).replace(b'"@@"', text.encode())


DEEP = json.dumps(record(1, data="@")).encode().replace(b'"@"', b'{"a":' * 300 + b"1" + b"}" * 300)

UNREADABLE = [
    ("broken JSON", "tel/host", b'{"epoch":', "bad_json"),
    ("no JSON at all", "birth", b"hello", "bad_json"),
    ("an empty record", "tel/host", b"", "bad_json"),
    ("an empty birth", "birth", b"", "bad_json"),
    ("invalid UTF-8", "birth", b'{"boot":"\xff\xfe"}', None),
    ("a list instead of an object", "heartbeat", b"[1,2]", "bad_message"),
    ("wrong types in presence", "presence", b'{"state":5,"boot":1,"conn":"x"}', "bad_message"),
    ("an unknown state", "presence", b'{"state":"dead","boot":"b","conn":1}', "bad_message"),
    ("deep nesting", "birth", b"[" * 50_000, None),
    ("an unknown kind of topic", "nonsense", b"{}", "bad_topic"),
    ("an unknown kind with a name", "verb/dance", b"{}", "bad_topic"),
    ("a bad name in the topic", "tel/HOST!", b"{}", "bad_topic"),
    ("seq 0", "tel/host", telemetry(seq=0), "bad_message"),
    ("seq -1", "tel/host", telemetry(seq=-1), "bad_message"),
    ("seq 2^53", "tel/host", telemetry(seq=2**53), "bad_message"),
    ("seq 2^70", "tel/host", telemetry(seq=2**70), None),
    ("seq 1e300", "tel/host", telemetry(seq=1e300), "bad_message"),
    ("seq as text", "tel/host", telemetry(seq="1"), "bad_message"),
    ("no epoch", "tel/host", b'{"seq":1}', "bad_message"),
    ("a torn zlib stream", "tel/host", zlib.compress(telemetry())[:-7], "bad_zlib"),
    ("zlib with a tail", "tel/host", zlib.compress(telemetry()) + b"x", "bad_zlib"),
    ("no zlib after its first byte", "tel/host", b"\x78garbage", "bad_zlib"),
    ("a zlib bomb", "tel/host", zlib.compress(b"[" * 50_000_000, 9), "bad_zlib"),
    ("a clock of the year 200000000", "time", b'{"boot":"b","up_ms":1,"ts":1e19}', None),
    ("group all", "birth", json.dumps(birth(group="all")).encode(), "bad_name"),
    ("a group with capitals", "birth", json.dumps(birth(group="EU")).encode(), "bad_name"),
    ("a bad label", "birth", json.dumps(birth(labels={"A B": "x"})).encode(), "bad_name"),
    ("a huge label", "birth", json.dumps(birth(labels={"a": "x" * 257})).encode(), "bad_message"),
    (
        "an unknown stream",
        "birth",
        json.dumps(birth(streams={"films": {"epoch": "e", "head": 1}})).encode(),
        "bad_message",
    ),
    (
        "a head out of the world",
        "birth",
        json.dumps(birth(streams={"metrics": {"epoch": "e", "head": 2**60}})).encode(),
        None,
    ),
    ("a heartbeat of a device", "dev/plc/heartbeat", b"{}", "unknown_topic"),
    ("a lease without instances", "lease", b"{}", None),
]

BAD_BODIES = [
    ("unequal columns", "tel/host", telemetry(m={"x": [1.0]}), "metrics", "bad_message"),
    ("an empty dt", "tel/host", telemetry(dt=[], m={}), "metrics", "bad_message"),
    ("text for numbers", "tel/host", telemetry(m={"x": ["a", "b"]}), "metrics", "bad_message"),
    ("NUL in a name", "tel/host", telemetry(m={"x\0": [1, 2]}), "metrics", "bad_message"),
    ("an offset out of the world", "tel/host", telemetry(dt=[0, 2**53 - 1]), "metrics", None),
    ("the year 50000", "tel/host", telemetry(ts=50_000 * YEAR_MS), "metrics", "bad_clock"),
    ("an unknown report", "rep/films", json.dumps(record(1)).encode(), "reports", "unknown_topic"),
    ("facts without facts", "rep/facts", json.dumps(record(1)).encode(), "reports", "bad_message"),
    (
        "a result for another id",
        "res/abc",
        json.dumps(record(1, id="xyz", verb="ping", state="succeeded", at=1)).encode(),
        "results",
        None,
    ),
    ("data that is no object", "evt/x", json.dumps(record(1, data=[1])).encode(), "events", None),
    (
        "an integer beyond 64 bits in free data",
        "evt/x",
        json.dumps(record(1, data={"n": 2**80})).encode(),
        "events",
        "bad_message",
    ),
    ("deep nesting in free data", "evt/x", DEEP, "events", "bad_message"),
    ("a device's record", "dev/plc/tel/host", telemetry(), "metrics", "unknown_topic"),
]

TAKEN = [
    ("a clock of 1970", telemetry(ts=5000, synced=False), True),
    ("a negative clock", telemetry(ts=-5000, synced=False), True),
    ("a clock ten years ahead", telemetry(ts=now_ms() + 10 * YEAR_MS, synced=False), True),
    ("a false synced ten years ahead", telemetry(ts=now_ms() + 10 * YEAR_MS), True),
    ("null values", telemetry(m={"x": [None, 1]}), False),
    ("duplicate keys: the last one counts", with_text('2,3],"x":[4,5'), False),
    ("unknown fields", telemetry(future={"a": [1]}), False),
    ("zlib", zlib.compress(telemetry()), False),
]


async def _goes_on(running: RunningCenter, make_node: MakeNode, name: str) -> None:
    """The same client is served again, and so is everyone else."""
    again = await make_node(name)
    await again.birth(conn=9)
    await again.publish("tel/host", batch(7))
    await until(lambda: again.acknowledged("metrics", 7), "the acknowledgement of a good record")
    other = await make_node("bystander")
    await other.birth()
    await other.publish("tel/host", batch(1))
    await until(lambda: other.acknowledged("metrics", 1), "the bystander's acknowledgement")
    assert (await running.http.get("/readyz")).status_code == 200


async def _rejection(running: RunningCenter, topic: str) -> dict[str, Any]:
    async def look() -> Any:
        items = (await running.get("/rejected"))["items"]
        return next((item for item in items if item["topic"] == topic), None)

    found: dict[str, Any] = await until(look, f"the rejection of {topic}")
    return found


async def test_unreadable_messages(running: RunningCenter, make_node: MakeNode) -> None:
    """Each is listed with its reason and its beginning, counted, and told to its sender."""
    for i, (title, path, payload, reason) in enumerate(UNREADABLE):
        name = f"bad-{i}"
        node = await make_node(name)
        await node.publish(path, payload)
        found = await _rejection(running, f"fs1/up/{name}/{path}")
        assert reason in (None, found["reason"]), f"{title}: {found}"
        assert found["detail"], title
        assert found["client_id"] == name
        assert found["payload_bytes"] == len(payload), title
        assert payload[:100].decode(errors="replace")[:50] in found["payload_start"], title
        (told,) = await until(partial(node.got, "error"), f"{title}: the error record")
        assert (told["topic"], told["reason"]) == (found["topic"], found["reason"])
        assert f'farshore_rejected_total{{reason="{found["reason"]}"}}' in await running.metrics()
        node.leave()
    await _goes_on(running, make_node, "bad-0")


@pytest.mark.parametrize("case", BAD_BODIES, ids=[case[0] for case in BAD_BODIES])
async def test_a_bad_body_is_acknowledged_and_stands_in_the_ledger(
    running: RunningCenter, make_node: MakeNode, case: tuple[str, str, bytes, str, str | None]
) -> None:
    """Else the node would send it for ever."""
    _title, path, payload, stream, reason = case
    node = await make_node("pi-1")
    await node.birth()
    await node.publish(path, payload)
    await until(lambda: node.acknowledged(stream, 1), "the acknowledgement")
    book = (await running.books("pi-1"))[stream]
    assert (book["accepted"], book["head"], book["holes"]) == (0, 1, [])
    (line,) = book["lost"]
    found = await _rejection(running, f"fs1/up/pi-1/{path}")
    assert reason in (None, found["reason"])
    assert line["range"] == [1, 1]
    assert line["reason"] == f"refused by the center: {found['reason']}"
    await until(lambda: node.got("error"), "the error record")
    await node.publish(path, payload)
    await until(lambda: len(node.got("ack")) >= 3, "the second acknowledgement")
    book = (await running.books("pi-1"))[stream]
    assert len(book["lost"]) == 1, "sent again, it is no second loss"
    await _goes_on(running, make_node, "pi-2")


@pytest.mark.parametrize("case", TAKEN, ids=[case[0] for case in TAKEN])
async def test_strange_but_storable(
    running: RunningCenter, make_node: MakeNode, case: tuple[str, bytes, bool]
) -> None:
    """A clock out of the world is kept and listed; what is only unusual is simply kept."""
    _title, payload, listed = case
    node = await make_node("pi-1")
    await node.birth()
    await node.publish("tel/host", payload)
    await until(lambda: node.acknowledged("metrics", 1), "the acknowledgement")
    assert (await running.books("pi-1"))["metrics"]["accepted"] == 1
    if listed:
        assert (await _rejection(running, "fs1/up/pi-1/tel/host"))["reason"] == "clock"
    else:
        assert (await running.get("/rejected"))["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"stream": "metrics", "epoch": EPOCH, "range": [5, 1], "reason": "x"},
        {"stream": "metrics", "epoch": EPOCH, "range": [0, 1]},
        {"stream": "films", "epoch": EPOCH, "range": [1, 2]},
        {"stream": "metrics", "epoch": "e" * 65, "range": [1, 2]},
        {"range": "all"},
    ],
    ids=["backwards", "from zero", "unknown stream", "an endless epoch", "no range"],
)
async def test_a_declaration_of_loss_that_says_nothing(
    running: RunningCenter, make_node: MakeNode, body: dict[str, Any]
) -> None:
    """The event itself is kept; it declares nothing and is listed."""
    node = await make_node("pi-1")
    await node.birth()
    await node.publish("evt/loss", record(1, data=body))
    await until(lambda: node.acknowledged("events", 1), "the acknowledgement")
    assert (await running.books("pi-1"))["metrics"]["lost"] == []
    await _rejection(running, "fs1/up/pi-1/evt/loss")


async def test_a_payload_above_the_limit(running: RunningCenter, make_node: MakeNode) -> None:
    """Its sender is cut off; the refusal is listed and counted."""
    node = await make_node("fat")
    node.client.publish("fs1/up/fat/tel/host", b"x" * 102_401, 1)

    async def look() -> Any:
        items = (await running.get("/rejected"))["items"]
        return [item for item in items if item["client_id"] == "fat"]

    (found, *_) = await until(look, "the rejection")
    assert found["reason"] == "too_large"
    node.leave()
    await _goes_on(running, make_node, "fat")


async def test_writing_under_anothers_name(running: RunningCenter, make_node: MakeNode) -> None:
    """It does not reach the victim, and the one who wrote is told."""
    victim = await make_node("victim")
    await victim.birth()
    villain = await make_node("villain")
    await villain.publish("fs1/up/victim/tel/host", batch(1))
    await villain.publish("fs1/up/victim/presence", {"state": "offline", "boot": "b", "conn": 1})
    found = await _rejection(running, "fs1/up/victim/tel/host")
    assert (found["client_id"], found["node"]) == ("villain", "victim")
    await until(lambda: len(villain.got("error")) == 2, "the error records")
    assert victim.got("error") == []
    assert (await running.books("victim"))["metrics"]["accepted"] == 0
    assert (await running.get("/nodes/victim"))["state"] == "online"
    await _goes_on(running, make_node, "villain")


async def test_an_unknown_verb_by_rest(running: RunningCenter, make_node: MakeNode) -> None:
    node = await make_node("pi-1")
    await node.birth()
    await until(lambda: running.center.nodes.registry.get("pi-1"))
    response = await running.http.post(
        "/api/v1/commands", json={"node": "pi-1", "verb": "dance", "args": {}}
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "verb"


async def test_a_name_that_is_nearly_a_nodes_is_told_which(
    running: RunningCenter, make_node: MakeNode
) -> None:
    node = await make_node("pi-17")
    await node.birth()
    await until(lambda: running.center.nodes.registry.get("pi-17"))
    command = {"node": "pi-71", "verb": "ping"}
    for response in (
        await running.http.post("/api/v1/commands", json=command),
        await running.http.get("/api/v1/nodes/pi-71"),
    ):
        (error,) = response.json()["errors"]
        assert error["detail"] == "there is no node 'pi-71'; did you mean pi-17?"


async def test_a_value_out_of_its_bounds_is_told_the_bounds(running: RunningCenter) -> None:
    rules = {"waves": {"sizes": [0]}, "at_once": 0}
    job = {"name": "a", "selector": "all", "command": {"verb": "ping"}, "rules": rules}
    response = await running.http.post("/api/v1/jobs", json=job)
    assert response.status_code == 422
    told = {
        error["field"]: (error["detail"], error["expected"]) for error in response.json()["errors"]
    }
    assert told["rules.waves.sizes.0"][0] == "a count from 1 to 1000000"
    assert told["rules.at_once"][1] == "at least 1"
