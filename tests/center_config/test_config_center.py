"""Configuration through a real center: over HTTP in, over MQTT to nodes that answer, and back."""

from typing import Any

import pytest
from center.running import RunningCenter, until
from center_config.conftest import MakeConfigNode
from farshore_protocol.config.digest import digest


async def put(
    running: RunningCenter, layer: str, patch: Any, status: int = 200, **headers: str
) -> Any:
    response = await running.http.put(
        f"/api/v1/config/{layer}", json={"patch": patch, "author": "ada"}, headers=headers
    )
    assert response.status_code in (status, 201 if status == 200 else status), response.text
    return response.json()


async def config_of(running: RunningCenter, node: str) -> Any:
    return (await running.get(f"/nodes/{node}"))["config"]


async def until_state(running: RunningCenter, node: str, state: str, rev: int) -> Any:
    async def look() -> Any:
        found = await config_of(running, node)
        return found if (found["state"], found["desired_rev"]) == (state, rev) else None

    return await until(look, f"{node} {state} at {rev}")


async def test_a_layer_reaches_its_node_and_the_node_is_believed(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    node = await make_config_node("pi-1")
    assert (await config_of(running, "pi-1"))["state"] == "none"
    accepted = await put(running, "group/eu", {"agent": {"batch_s": 5}})
    assert (accepted["layer"], accepted["rev"], accepted["nodes"]) == ("group:eu", 1, 1)
    found = await until_state(running, "pi-1", "applied", 1)
    desired = {"agent": {"batch_s": 5}}
    assert found == {
        "desired_rev": 1,
        "desired_digest": digest(desired),
        "reported_rev": 1,
        "reported_digest": digest(desired),
        "state": "applied",
        "error": None,
        "override": None,
        "differences": [],
    }
    (sent,) = node.got()
    assert (sent.rev, sent.config, sent.group) == (1, desired, "eu/hamburg")
    assert sent.labels == {"env": "test"}


async def test_only_nodes_whose_configuration_changes_are_sent_anything(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    nodes = [await make_config_node(f"pi-{n}", group=f"g{n % 2}") for n in range(4)]
    await put(running, "defaults", {"agent": {"batch_s": 5}})
    for node in nodes:
        await until_state(running, node.name, "applied", 1)
    await put(running, "node/pi-2", {"agent": {"heartbeat_s": 7}})
    await until_state(running, "pi-2", "applied", 2)
    # The same value from above changes nobody who has it already.
    assert (await put(running, "group/g0", {"agent": {"batch_s": 5}}))["nodes"] == 0
    assert (await put(running, "group/g1", {"agent": {"batch_s": 6}}))["nodes"] == 2
    await until_state(running, "pi-1", "applied", 2)
    await until_state(running, "pi-3", "applied", 2)
    assert [len(node.got()) for node in nodes] == [1, 2, 2, 2]
    assert running.center.configs.stats()["sent"] == 7


async def test_a_node_that_is_up_to_date_is_sent_nothing_at_its_birth(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    node = await make_config_node("pi-1")
    await put(running, "defaults", {"agent": {"batch_s": 5}})
    await until_state(running, "pi-1", "applied", 1)
    rounds = running.center.configs.stats()["rounds"]
    await node.birth(conn=2)
    await until(lambda: running.center.configs.stats()["rounds"] > rounds)
    await put(running, "defaults", {"agent": {"batch_s": 6}})
    await until_state(running, "pi-1", "applied", 2)
    assert [desired.rev for desired in node.got()] == [1, 2]


@pytest.mark.parametrize("lost", ["everything", "digest"])
async def test_a_node_that_runs_something_else_is_sent_its_own_at_its_birth(
    running: RunningCenter, make_config_node: MakeConfigNode, lost: str
) -> None:
    node = await make_config_node("pi-1")
    await put(running, "defaults", {"agent": {"batch_s": 5}})
    await until_state(running, "pi-1", "applied", 1)
    node.config = {}
    if lost == "everything":
        node.rev = 0
    await node.birth(conn=2)
    assert (await node.until_sent(2)).rev == 1


async def test_a_node_that_was_away_is_sent_the_newest_alone_when_it_comes(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    node = await make_config_node("pi-1")
    await node.node.publish("presence", {"state": "offline", "boot": "b00t", "conn": 1})

    async def offline() -> bool:
        return bool((await running.get("/nodes/pi-1"))["state"] == "offline")

    await until(offline)
    for batch_s in (5, 6, 7):
        await put(running, "defaults", {"agent": {"batch_s": batch_s}})
    assert (await config_of(running, "pi-1"))["state"] == "pending"
    await node.birth(conn=2)
    await until_state(running, "pi-1", "applied", 3)
    assert [desired.rev for desired in node.got()] == [3]


async def test_explain_says_where_each_value_comes_from(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    node = await make_config_node("pi-1")
    await put(running, "defaults", {"agent": {"batch_s": 5, "log_level": "INFO", "heartbeat_s": 9}})
    await put(running, "group/eu", {"agent": {"batch_s": 6}})
    await put(running, "group/eu", {"agent": {"batch_s": 7, "heartbeat_s": None}})
    await put(running, "group/eu~hamburg", {"packages": {"vim": {}}})
    await put(running, "node/pi-1", {"agent": {"log_level": "DEBUG"}})
    await until_state(running, "pi-1", "applied", 5)
    found = await running.get("/nodes/pi-1/config", explain=True)
    assert found["config"] == {
        "agent": {"batch_s": 7, "log_level": "DEBUG"},
        "packages": {"vim": {}},
    }
    assert found["digest"] == digest(found["config"])
    assert found["origin"] == {
        "/agent/batch_s": "group:eu@2",
        "/agent/log_level": "node:pi-1@1",
        "/packages/vim": "group:eu/hamburg@1",
    }
    assert found["removed"] == {"/agent/heartbeat_s": "group:eu@2"}
    assert [(each["layer"], each["author"]) for each in found["layers"]] == [
        ("defaults@1", "ada"),
        ("group:eu@2", "ada"),
        ("group:eu/hamburg@1", "ada"),
        ("node:pi-1@1", "ada"),
    ]
    override = {
        "config": {"agent": {"batch_s": 1}},
        "author": "bob",
        "reason": "noisy line",
        "set_ms": 1_700_000_000_000,
    }
    await node.report(rev=5, override=override)

    async def overridden() -> Any:
        return (await config_of(running, "pi-1"))["override"]

    assert (await until(overridden))["reason"] == "noisy line"
    found = await running.get("/nodes/pi-1/config", explain=True)
    assert found["origin"]["/agent/batch_s"] == "override"
    assert found["config"]["agent"]["batch_s"] == 1
    assert found["layers"][-1]["message"] == "noisy line"
    plain = await running.get("/nodes/pi-1/config")
    assert plain["config"]["agent"]["batch_s"] == 7
    assert "origin" not in plain
