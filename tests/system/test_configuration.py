"""Configuration from a person's change at the center to what runs at nodes, with real processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from system.programs import AgentProgram, CenterProgram, until
from system.test_center_restored import back_up, put_back

pytestmark = pytest.mark.processes

MakeCenter = Callable[..., CenterProgram]
MakeAgent = Callable[[str, int], AgentProgram]


async def put(center: CenterProgram, layer: str, patch: dict[str, Any], status: int = 0) -> Any:
    response = await center.http.put(
        f"/api/v1/config/{layer}", json={"patch": patch, "author": "ada"}
    )
    assert response.status_code in ((status,) if status else (200, 201)), response.text
    return response.json()


async def moved(center: CenterProgram, node: str, group: str, **labels: str) -> None:
    body: dict[str, Any] = {"group": group, **({"labels": labels} if labels else {})}
    path = f"/api/v1/nodes/{node}"
    response = await center.http.patch(path, params={"parents": "true"}, json=body)
    assert response.status_code == 200, response.text


async def config(center: CenterProgram, node: str) -> dict[str, Any]:
    found: dict[str, Any] = (await center.get(f"/nodes/{node}"))["config"]
    return found


async def in_state(center: CenterProgram, node: str, state: str, rev: int = 0) -> dict[str, Any]:
    async def look() -> Any:
        found = await config(center, node)
        return found if found["state"] == state and (found["reported_rev"] or 0) >= rev else None

    found: dict[str, Any] = await until(look, f"{node} {state}")
    return found


async def settled(center: CenterProgram, *nodes: str) -> None:
    """Each runs what it should, by the digest."""
    for node in nodes:

        async def look(node: str = node) -> bool:
            found = await config(center, node)
            same = found["reported_digest"] == found["desired_digest"]
            return bool(same and found["state"] == "applied")

        await until(look, f"{node} with what it should run")


async def sent(center: CenterProgram) -> int:
    """First messages about configurations since the center's start."""
    text = (await center.http.get("/metrics")).text
    line = next(row for row in text.splitlines() if row.startswith("farshore_config_sent_total"))
    return int(float(line.split()[-1]))


async def test_a_change_reaches_its_group_and_explains_itself(
    make_center: MakeCenter, make_agent: MakeAgent
) -> None:
    center = make_center()
    await center.ready()
    for name in ("pi-1", "pi-2", "pi-3"):
        make_agent(name, center.mqtt_port)
    await center.online("pi-1", "pi-2", "pi-3")
    for name, group in (("pi-1", "eu/hamburg"), ("pi-2", "eu"), ("pi-3", "us")):
        await moved(center, name, group)
    await put(center, "defaults", {"agent": {"log_level": "INFO"}})
    await put(center, "group/eu", {"agent": {"heartbeat_s": 2, "batch_s": 0.5}})
    await put(center, "group/eu~hamburg", {"agent": {"batch_s": 0.3}})
    await settled(center, "pi-1", "pi-2", "pi-3")

    told = await center.get("/nodes/pi-1/config", explain="true")
    assert told["origin"] == {
        "/agent/log_level": "defaults@1",
        "/agent/heartbeat_s": "group:eu@1",
        "/agent/batch_s": "group:eu/hamburg@1",
    }
    before, others = await sent(center), await config(center, "pi-2")
    await put(center, "node/pi-1", {"agent": {"heartbeat_s": 3}})
    await settled(center, "pi-1")
    assert (await center.get("/nodes/pi-1"))["config"]["desired_rev"] > 1
    assert await sent(center) == before + 1, "one node is touched, one message is sent"
    assert await config(center, "pi-2") == others

    # The group's layers go with the group, and its nodes' revisions with what they run.
    response = await center.http.post("/api/v1/groups/eu/move", json={"to": "emea"})
    assert response.status_code == 200, response.text
    await settled(center, "pi-1", "pi-2")
    told = await center.get("/nodes/pi-1/config", explain="true")
    assert told["origin"]["/agent/batch_s"] == "group:emea/hamburg@1"
    assert told["group"] == "emea/hamburg"


async def test_a_bad_change_is_stopped_before_or_undone_at_the_node(
    make_center: MakeCenter, make_agent: MakeAgent, tmp_path: Path
) -> None:
    center = make_center()
    await center.ready()
    agents = {name: make_agent(name, center.mqtt_port) for name in ("pi-1", "pi-2")}
    await center.online(*agents)
    for name in agents:
        await moved(center, name, "eu", **({"site": "dock"} if name == "pi-1" else {}))
    await put(center, "group/eu", {"agent": {"heartbeat_s": 2}})
    await settled(center, *agents)

    typo = {"agent": {"heartbeat_s": 2, "heartbeet_s": 9}}
    body = {"layer": "group:eu", "patch": typo}
    preview = (await center.http.post("/api/v1/config/preview", json=body)).json()
    assert (preview["valid"], preview["faults"][0]["path"]) == (False, "/agent/heartbeet_s")
    refused = await put(center, "group/eu", typo, status=422)
    assert (refused["faults"][0]["path"], refused["nodes"]) == ("/agent/heartbeet_s", 2)
    assert (await center.get("/config/group/eu"))["rev"] == 1, "nothing was written"

    # What only shows at the node: a health check that can't pass, behind a file that was written.
    motd = agents["pi-1"].data / "files" / "motd"
    good = {"files": {str(motd): {"content": "good\n"}}}
    await put(center, "node/pi-1", good)
    await settled(center, "pi-1")
    assert motd.read_text() == "good\n"
    running = (await config(center, "pi-1"))["reported_rev"]
    bad = {
        "files": {str(motd): {"content": "bad\n"}},
        "health": {"api": {"tcp": f"127.0.0.1:{free_port()}", "within_s": 0.5, "interval_s": 0.1}},
    }
    await put(center, "node/pi-1", bad)
    found = await in_state(center, "pi-1", "rolled_back")
    assert motd.read_text() == "good\n"
    assert found["error"]["path"] == "/health/api"
    assert (await center.get("/nodes/pi-1/config"))["reported"]["running_rev"] == running
    await settled(center, "pi-2")

    # A template that fails on one node of two: the other one has it.
    await put(center, "node/pi-1", good)
    await settled(center, "pi-1")
    for name, agent in agents.items():
        site = {"files": {str(agent.data / "files" / "site"): {"template": "{{ labels.site }}"}}}
        await put(center, f"node/{name}", {**good, **site} if name == "pi-1" else site)
    await settled(center, "pi-1")
    assert (agents["pi-1"].data / "files" / "site").read_text() == "dock"
    failed = await in_state(center, "pi-2", "failed")
    assert "site" in failed["error"]["message"]
    assert not (agents["pi-2"].data / "files" / "site").exists()

    # A person's new labels reach the nodes: what was rendered is rendered anew, what failed goes on.
    for name, label in (("pi-1", "quay"), ("pi-2", "crane")):
        await moved(center, name, "eu", site=label)
        site_file = agents[name].data / "files" / "site"
        await until(lambda f=site_file, s=label: f.exists() and f.read_text() == s, label)  # type: ignore[misc]
        await settled(center, name)


async def test_drift_is_told_and_mended_and_an_override_is_seen_and_kept(
    make_center: MakeCenter, make_agent: MakeAgent
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    motd = agent.data / "files" / "motd"
    await put(
        center,
        "node/pi-1",
        {"files": {str(motd): {"content": "good\n"}}, "drift": {"interval_s": 1}},
    )
    await settled(center, "pi-1")
    motd.write_text("changed by hand\n")
    await until(lambda: motd.read_text() == "good\n", "the repaired file")

    async def drift() -> Any:
        answer = await center.http.get(
            "/api/v1/events", params={"limit": 50}, headers={"Accept": "application/json"}
        )
        return [event for event in answer.json()["items"] if event["kind"] == "evt.drift"]

    assert str(motd).replace("/", "~1") in str(await until(drift, "the event"))

    args = {
        "action": "set",
        "config": {"agent": {"heartbeat_s": 7}},
        "author": "field engineer",
        "reason": "camera swap",
        "ttl_s": 3600,
    }
    made = await center.command("pi-1", "config-override", args)
    assert (await center.done(made["id"]))["summary"] == {"succeeded": 1}

    async def override() -> Any:
        return (await config(center, "pi-1"))["override"]

    assert (await until(override, "the override at the center"))["reason"] == "camera swap"
    assert agent.end() == 0, agent.text()
    agent.start()
    await center.online("pi-1")
    status = await center.command("pi-1", "status")
    (target,) = (await center.done(status["id"]))["targets"]
    assert target["result"]["config"]["state"] == "applied"
    assert (await override())["author"] == "field engineer"
    made = await center.command("pi-1", "config-override", {"action": "clear"})
    assert (await center.done(made["id"]))["summary"] == {"succeeded": 1}

    async def gone() -> bool:
        return await override() is None

    await until(gone, "the center without an override")


async def test_what_changed_meanwhile_is_there_at_birth_and_a_node_ahead_waits_for_a_person(
    make_center: MakeCenter, make_agent: MakeAgent, tmp_path: Path
) -> None:
    center = make_center()
    await center.ready()
    agent = make_agent("pi-1", center.mqtt_port)
    await center.online("pi-1")
    await put(center, "node/pi-1", {"agent": {"heartbeat_s": 2}})
    await settled(center, "pi-1")
    back_up(center, tmp_path / "copy")
    assert agent.end() == 0, agent.text()
    await put(center, "node/pi-1", {"agent": {"heartbeat_s": 3}})
    agent.start()
    await settled(center, "pi-1")
    ahead = (await config(center, "pi-1"))["reported_rev"]

    assert center.end() == 0, center.text()
    put_back(center, tmp_path / "copy")
    center.start()
    await center.ready()
    await center.online("pi-1")
    found = await in_state(center, "pi-1", "ahead")
    assert found["reported_rev"] == ahead > found["desired_rev"]
    assert (await center.http.post("/api/v1/nodes/pi-1/config/resolve")).status_code == 200
    await settled(center, "pi-1")
    assert (await config(center, "pi-1"))["desired_rev"] > ahead
    assert (await center.get("/nodes/pi-1/config"))["config"] == {"agent": {"heartbeat_s": 2}}
