"""What nodes have announced decides what is sent; the catalogue over REST; a node that is deleted."""

import json
from typing import Any

import httpx
from center.conftest import MakeNode
from center.running import PahoNode, RunningCenter, record, until
from farshore_protocol.asyncapi import document
from farshore_protocol.commands.schema import catalogue_digest


def capabilities(*verbs: str, digest: str | None = None) -> dict[str, Any]:
    return {"verbs": list(verbs), "drivers": [], "verbs_digest": digest}


async def born(make_node: MakeNode, running: RunningCenter, name: str, *verbs: str) -> PahoNode:
    node = await make_node(name)
    await node.birth(capabilities=capabilities(*verbs))
    await until(lambda: running.center.nodes.registry.get(name), "the birth")
    return node


async def gone(running: RunningCenter, node: PahoNode) -> None:
    await node.publish("presence", node._presence("offline"))
    node.leave()

    async def offline() -> bool:
        return bool((await running.get(f"/nodes/{node.name}"))["state"] == "offline")

    await until(offline, "the absence")


async def ask(running: RunningCenter, **body: Any) -> httpx.Response:
    return await running.http.post("/api/v1/commands", json={"verb": "ping", **body})


async def test_who_has_not_the_verb_is_rejected_and_the_others_are_sent_it(
    running: RunningCenter, make_node: MakeNode
) -> None:
    old = await born(make_node, running, "old", "ping")
    new = await born(make_node, running, "new", "ping", "status")
    silent = await make_node("silent")
    await silent.birth()
    await until(lambda: running.center.nodes.registry.get("silent"), "the birth")
    made = (await ask(running, nodes=["old", "new", "silent"], verb="status")).json()
    await until(lambda: new.got("cmd/status"), "the command")
    await until(lambda: silent.got("cmd/status"), "the command to who has announced nothing")

    async def rejected() -> Any:
        view = await running.get(f"/commands/{made['id']}")
        return view if view["summary"].get("rejected") else None

    view = await until(rejected, "the rejection")
    states = {t["node"]: t["state"] for t in view["targets"]}
    assert states == {"new": "sent", "old": "rejected", "silent": "sent"}
    (target,) = [t for t in view["targets"] if t["node"] == "old"]
    assert target["reason"] == "the node has not announced the verb"
    assert target["error"]["code"] == "unknown_verb"
    assert [state for state, _ in target["history"]] == ["queued", "rejected"]
    assert old.got("cmd/status") == []
    events = await running.get("/events", command=made["id"], limit=100)
    told = [e["data"] for e in events["items"] if e["node"] == "old" and "state" in e["data"]]
    assert [(d["state"], d["error"]["code"]) for d in told] == [("rejected", "unknown_verb")]


async def test_a_command_that_nobody_can_do_is_refused(
    running: RunningCenter, make_node: MakeNode
) -> None:
    await born(make_node, running, "a", "ping")
    await born(make_node, running, "b", "ping", "facts")
    one = await ask(running, node="a", verb="status")
    assert one.status_code == 422
    (error,) = one.json()["errors"]
    assert error["field"] == "verb"
    assert error["detail"] == "a has not announced the verb status"
    assert error["expected"] == "one that they have: ping"
    both = (await ask(running, all=True, verb="status")).json()["errors"][0]
    assert both["detail"] == "none of the 2 nodes has announced the verb status"
    assert both["expected"] == "one that they have: facts, ping"
    assert (await running.get("/commands"))["items"] == []


async def test_what_an_absent_node_has_is_seen_when_it_comes(
    running: RunningCenter, make_node: MakeNode
) -> None:
    node = await born(make_node, running, "pi-1", "ping", "status")
    await gone(running, node)
    made = (await ask(running, node="pi-1", verb="status", ttl_s=600)).json()
    again = await make_node("pi-1")
    await again.birth(capabilities=capabilities("ping"), conn=2)

    async def ended() -> Any:
        view = await running.get(f"/commands/{made['id']}")
        return view["targets"][0] if view["done"] else None

    target = await until(ended, "the end")
    assert target["state"] == "rejected"
    assert again.got("cmd/status") == []


async def test_a_verb_of_the_node_alone_is_sent_and_the_node_checks_it(
    running: RunningCenter, make_node: MakeNode
) -> None:
    node = await born(make_node, running, "pi-1", "ping", "blink")
    wrong = await ask(running, node="pi-1", verb="blnk")
    assert "did you mean blink" in wrong.json()["errors"][0]["detail"]
    made = await ask(running, node="pi-1", verb="blink", args={"times": 3})
    assert made.status_code == 201, made.text
    assert made.json()["timeout_s"] is None, "the node knows it"
    (word,) = await until(lambda: node.got("cmd/blink"), "the command")
    assert word["args"] == {"times": 3}


async def test_the_catalogue(running: RunningCenter, make_node: MakeNode) -> None:
    await born(make_node, running, "pi-1", "ping", "blink")
    items = {v["name"]: v for v in (await running.get("/verbs"))["items"]}
    assert (items["ping"]["nodes"], items["exec"]["nodes"], items["blink"]["nodes"]) == (1, 0, 1)
    assert items["exec"]["args"]["required"] == ["argv"]
    assert items["exec"]["args"]["additionalProperties"] is False
    assert (items["blink"]["known"], items["blink"]["args"]) == (False, None)
    assert await running.get("/verbs/exec") == items["exec"]
    missing = await running.http.get("/api/v1/verbs/exce")
    assert missing.status_code == 404
    assert "did you mean exec" in missing.json()["detail"]
    assert await running.get("/asyncapi.json") == json.loads(json.dumps(document()))


async def test_the_verbs_of_a_node(running: RunningCenter, make_node: MakeNode) -> None:
    node = await born(make_node, running, "pi-1", "ping", "blink")
    found = await running.get("/nodes/pi-1/verbs")
    assert [v["name"] for v in found["items"]] == ["blink", "ping"]
    assert found["same"] is None
    for digest, same in ((catalogue_digest(["ping"]), True), ("other", False)):
        await node.birth(capabilities=capabilities("ping", digest=digest))

        async def told(digest: str = digest) -> bool:
            return bool((await running.get("/nodes/pi-1/verbs"))["digest"] == digest)

        await until(told, "the birth")
        assert (await running.get("/nodes/pi-1/verbs"))["same"] is same
    assert (await running.http.get("/api/v1/nodes/nobody/verbs")).status_code == 404


async def test_a_deleted_node_ends_what_it_was_to_do_and_its_late_word_still_counts(
    running: RunningCenter, make_node: MakeNode
) -> None:
    node = await born(make_node, running, "pi-1", "ping", "exec")
    going = (await ask(running, node="pi-1", verb="exec", args={"argv": ["make"]})).json()["id"]
    await until(lambda: node.got("cmd/exec"), "the command")
    said = {"id": going, "verb": "exec", "state": "running", "at": 5}
    await node.publish(f"res/{going}", record(1, **said))
    await until(lambda: node.acknowledged("results", 1), "the report")
    await gone(running, node)
    waiting = (await ask(running, node="pi-1", ttl_s=600)).json()["id"]
    assert (await running.http.delete("/api/v1/nodes/pi-1")).status_code == 204
    for command_id, state in ((waiting, "expired"), (going, "interrupted")):
        view = await running.get(f"/commands/{command_id}")
        assert view["done"], "nothing waits for a node that is no more"
        (target,) = view["targets"]
        assert (target["state"], target["reason"]) == (state, "the node was deleted")
    back = await born(make_node, running, "pi-1", "ping", "exec")
    end = said | {"state": "succeeded", "result": {"exit_code": 0, "signal": None}}
    await back.publish(f"res/{going}", record(2, **end))
    await until(lambda: back.acknowledged("results", 2), "the report")
    (target,) = (await running.get(f"/commands/{going}"))["targets"]
    assert (target["state"], target["reason"]) == ("succeeded", None)
    assert back.got("cmd/ping") == [], "what has expired is not sent any more"
