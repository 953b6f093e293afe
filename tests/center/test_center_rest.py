"""The REST interface of a running center: nodes, groups, books, what was refused, operation."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from center.conftest import MakeNode
from center.running import EPOCH, RunningCenter, batch, birth, now_ms, record, settings_for, until
from farshore_center.app import Center
from farshore_center.db.errors import DatabaseError
from farshore_protocol.clock import SystemClock
from prometheus_client.parser import text_string_to_metric_families


async def fleet(running: RunningCenter, count: int) -> None:
    """Births by the center's own door: no connection each."""
    for i in range(count):
        word = birth(group=f"eu/site{i % 3}", labels={"n": str(i)})
        await running.center.intake.take(
            f"fs1/up/pi-{i:04}/birth", json.dumps(word).encode(), f"pi-{i:04}"
        )


async def test_pages_of_450_nodes(running: RunningCenter) -> None:
    await fleet(running, 450)
    names: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await running.get("/nodes", limit=200, **cursor)
        names += [item["name"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert names == [f"pi-{i:04}" for i in range(450)]
    site = await running.get("/nodes", group="eu/site1", limit=1000)
    assert len(site["items"]) == 150
    assert (await running.get("/nodes", group="eu/site"))["items"] == [], "no half names"
    assert (await running.get("/nodes", state="offline"))["items"] == []
    assert len((await running.get("/nodes", state="online", limit=1000))["items"]) == 450
    groups = {g["path"]: (g["nodes"], g["online"]) for g in (await running.get("/groups"))["items"]}
    assert groups == {
        "eu": (450, 450),
        "eu/site0": (150, 150),
        "eu/site1": (150, 150),
        "eu/site2": (150, 150),
    }


async def test_pages_of_books(running: RunningCenter) -> None:
    await fleet(running, 5)
    await running.center.ingest.drained()
    seen: list[str] = []
    cursor: dict[str, Any] = {}
    while True:
        page = await running.get("/streams", limit=2, **cursor)
        seen += [item["node"] for item in page["items"]]
        assert all(item["current"] for item in page["items"])
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == [f"pi-{i:04}" for i in range(5)]
    response = await running.http.get("/api/v1/streams", params={"cursor": "nonsense"})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "cursor")


async def test_a_node_with_facts_books_and_telemetry(
    running: RunningCenter, make_node: MakeNode
) -> None:
    node = await make_node("pi-1")
    await node.birth()
    await node.publish("rep/facts", record(1, digest="d", facts={"mem": {"total": 4}}))
    await node.publish("tel/host", batch(1))
    await node.publish("tel/host", batch(1))
    await node.publish("tel/host", batch(3))
    loss = {"stream": "metrics", "epoch": EPOCH, "range": [2, 2], "reason": "quota"}
    await node.publish("evt/loss", record(1, data=loss))
    await until(lambda: node.acknowledged("events", 1))
    response = await running.http.get("/api/v1/nodes/pi-1")
    document = response.json()
    assert (document["facts"], document["state"]) == ({"mem": {"total": 4}}, "online")
    assert (document["group"], document["labels"]) == ("eu/hamburg", {"env": "test"})
    assert response.headers["ETag"] == '"1"'
    (listed,) = (await running.get("/nodes"))["items"]
    assert listed["facts"] == {}
    assert listed["latest"]["cpu.percent"] == 2.5
    assert (await running.get("/nodes", facts=True))["items"][0]["facts"] == document["facts"]
    book = (await running.books("pi-1"))["metrics"]
    assert (book["accepted"], book["duplicates"], book["head"]) == (2, 1, 3)
    assert (book["holes"], book["lost_records"]) == ([], 1)
    assert [(line["range"], line["reason"]) for line in book["lost"]] == [([2, 2], "quota")]
    # The last sample of a batch is 100 ms later than its first: it may lie beyond "now".
    span = {"from": "-1h", "to": str(now_ms() + 60_000)}
    series = (await running.get("/nodes/pi-1/telemetry", **span))["series"]
    assert sorted(series["cpu.percent"]["v"]) == [1.5, 1.5, 2.5, 2.5]


async def test_a_change_is_made_once_and_over_nobody(running: RunningCenter) -> None:
    await fleet(running, 1)
    path = "/api/v1/nodes/pi-0000"
    ok = await running.http.patch(
        f"{path}?parents=true",
        json={"labels": {"a": "b"}, "group": "us"},
        headers={"If-Match": '"1"'},
    )
    assert (ok.status_code, ok.headers["ETag"]) == (200, '"2"')
    assert (ok.json()["labels"], ok.json()["group"]) == ({"a": "b"}, "us")
    stale = await running.http.patch(path, json={"group": "asia"}, headers={"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["errors"][0]["field"]) == (412, "If-Match")
    assert (await running.http.get(path)).json()["group"] == "us"
    await fleet(running, 1)
    assert (await running.http.get(path)).json()["group"] == "us", "a birth does not undo it"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"labels": {"A B": "x"}}, "labels.A B"),
        ({"labels": {"a": "x" * 257}}, "labels.a"),
        ({"labels": {"a": 5}}, "labels.a"),
        ({"labels": "a=b"}, "labels"),
        ({"group": "EU"}, "group"),
        ({"group": "all"}, "group"),
        ({"group": "/".join("abcdefgh")}, "group"),
        ({"name": "other"}, "name"),
    ],
)
async def test_a_bad_change_names_the_field(
    running: RunningCenter, body: dict[str, Any], field: str
) -> None:
    await fleet(running, 1)
    response = await running.http.patch("/api/v1/nodes/pi-0000", json=body)
    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["errors"][0]["field"] == field
    assert (await running.http.get("/api/v1/nodes/pi-0000")).headers["ETag"] == '"1"'


async def test_a_change_that_can_t_be_written_is_not_made(
    running: RunningCenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet(running, 1)

    async def broken(_work: Any) -> Any:
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(running.center.database, "write", broken)
        response = await running.http.patch(
            "/api/v1/nodes/pi-0000?parents=true", json={"group": "us"}
        )
        assert (response.status_code, response.json()["status"]) == (503, 503)
        ready = await running.http.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["database"]) == (503, False)
        entry = running.center.nodes.registry.get("pi-0000")
        assert entry is not None
        entry.standing = replace(entry.standing, online=False)
        assert (await running.http.delete("/api/v1/nodes/pi-0000")).status_code == 503
    response = await running.http.get("/api/v1/nodes/pi-0000")
    assert (response.json()["group"], response.headers["ETag"]) == ("eu/site0", '"1"')


async def test_a_birth_that_could_not_be_written_is_asked_for_at_the_next_heartbeat(
    running: RunningCenter, make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nobody would answer the node, which sends nothing before."""
    node = await make_node("pi-1")
    await node.birth()
    await until(lambda: len(node.got("ack")) == 1, "the first answer")
    heartbeat = {"boot": "b00t", "conn": 1, "up_s": 1}

    async def broken(_work: Any) -> Any:
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(running.center.database, "write", broken)
        await node.birth(streams={"metrics": {"epoch": EPOCH, "head": 5}})
        await until(lambda: running.center.ingest.unanswered, "the failed commit")
    await node.publish("heartbeat", heartbeat)
    await until(lambda: "unknown_node" in str(node.got("error")), "the question for the birth")
    await node.birth(streams={"metrics": {"epoch": EPOCH, "head": 5}})
    await until(lambda: len(node.got("ack")) > 1, "the answer")
    await node.publish("heartbeat", heartbeat)
    await node.publish("tel/host", batch(1))
    await until(lambda: node.acknowledged("metrics", 1), "all that came before it")
    assert str(node.got("error")).count("unknown_node") == 1


async def test_only_a_node_that_is_away_can_be_forgotten(
    running: RunningCenter, make_node: MakeNode
) -> None:
    node = await make_node("pi-1")
    await node.birth()
    await node.publish("tel/host", batch(1))
    await until(lambda: node.acknowledged("metrics", 1))
    assert (await running.http.delete("/api/v1/nodes/pi-1")).status_code == 409
    await node.publish("presence", {"state": "offline", "boot": "b00t", "conn": 1})
    stale = await running.http.delete("/api/v1/nodes/pi-1", headers={"If-Match": '"9"'})
    assert stale.status_code == 412
    assert (await running.http.delete("/api/v1/nodes/pi-1")).status_code == 204
    assert (await running.http.get("/api/v1/nodes/pi-1")).status_code == 404
    assert (await running.http.delete("/api/v1/nodes/pi-1")).status_code == 404
    await node.birth(conn=2)
    await node.publish("tel/host", batch(1))
    book = (await running.books("pi-1"))["metrics"]
    await until(lambda: len(node.got("ack")) >= 3)
    assert book["accepted"] == 1, "the books stay: what was accepted is not taken twice"


async def test_the_rejected_come_newest_first_in_pages(running: RunningCenter) -> None:
    for i in range(5):
        running.center.rejected.add(reason="r", detail=str(i), payload=b"")
    first = await running.get("/rejected", limit=3)
    assert [item["detail"] for item in first["items"]] == ["4", "3", "2"]
    second = await running.get("/rejected", limit=3, cursor=first["next"])
    assert ([item["detail"] for item in second["items"]], second["next"]) == (["1", "0"], None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/nodes/none", 404),
        ("GET", "/api/v1/nodes/none/streams", 404),
        ("PATCH", "/api/v1/nodes/none", 404),
        ("GET", "/api/v1/nodes?limit=0", 422),
        ("GET", "/api/v1/nodes?state=dead", 422),
        ("GET", "/api/v1/rejected?cursor=x", 422),
        ("POST", "/api/v1/nodes", 405),
    ],
)
async def test_what_is_not_there_is_a_problem_document(
    running: RunningCenter, method: str, path: str, status: int
) -> None:
    response = await running.http.request(method, path, json={} if method == "PATCH" else None)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == status
    if path == "/api/v1/nothing":
        assert "/api/v1/openapi.json" in response.json()["detail"]


async def test_operation(running: RunningCenter, make_node: MakeNode) -> None:
    node = await make_node("pi-1")
    await node.birth()
    await node.publish("tel/host", batch(1))
    await until(lambda: node.acknowledged("metrics", 1))
    assert (await running.http.get("/healthz")).json() == {"status": "ok"}
    assert (await running.http.get("/readyz")).status_code == 200
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(await running.metrics())
        for sample in family.samples
    }
    assert samples["farshore_ingest_accepted_total",] == 1
    assert samples["farshore_nodes_online",] == 1
    assert samples["farshore_received_total", "tel"] == 1
    assert samples["farshore_broker_clients",] == 1
    document = await running.get("/openapi.json")
    assert document["openapi"].startswith("3.")
    assert {"/api/v1/nodes", "/api/v1/commands", "/readyz"} <= set(document["paths"])
    ids = [op["operationId"] for path in document["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids))


async def test_a_center_that_has_not_started_is_not_ready(tmp_path: Path) -> None:
    center = Center(settings_for(tmp_path), clock=SystemClock(), rng=random.Random(1))
    transport = httpx.ASGITransport(center.api)
    async with httpx.AsyncClient(transport=transport, base_url="http://center") as client:
        assert (await client.get("/healthz")).status_code == 200
        response = await client.get("/readyz")
        assert response.status_code == 503
        assert not any(response.json()["checks"].values())
        assert (await client.get("/metrics")).status_code == 200


async def test_metrics_are_explained(running: RunningCenter) -> None:
    """Every metric has its row in docs/operation.md, and every row its metric."""
    text = (Path(__file__).parents[2] / "docs" / "operation.md").read_text()
    rows = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `farshore_")}
    running.center.rejected.add(reason="r", detail="", payload=b"")
    families = text_string_to_metric_families(await running.metrics())
    names = {
        family.name + ("_total" if family.type == "counter" else "") for family in families
    } | {"farshore_uplink_dropped_total", "farshore_uplink_unsent_total"}  # external brokers
    assert rows == names
