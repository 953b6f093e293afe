"""Layers, revisions, schemas and previews over HTTP; what is wrong is refused, and nothing changes."""

import asyncio
from typing import Any

import pytest
from center.running import RunningCenter, until
from center_config.conftest import MakeConfigNode
from center_config.test_config_center import config_of, put, until_state
from farshore_center.config.bodies import MAX_BODY_BYTES


async def call(
    running: RunningCenter, method: str, path: str, status: int, body: Any = None, **headers: str
) -> Any:
    content = {} if body is None else {"json": body}
    response = await running.http.request(method, f"/api/v1{path}", headers=headers, **content)
    assert response.status_code == status, response.text
    return response.json() if response.content else None


async def test_revisions_are_kept_and_say_what_they_changed(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    await make_config_node("pi-1")
    first = await put(running, "defaults", {"agent": {"batch_s": 5}})
    assert first["changed"] is True
    again = await put(running, "defaults", {"agent": {"batch_s": 5}})
    assert (again["rev"], again["changed"], again["nodes"]) == (1, False, 0)
    await put(running, "defaults", {"agent": {"batch_s": 6}})
    await call(running, "DELETE", "/config/defaults", 204, **{"X-Farshore-Author": "bob"})
    await call(running, "GET", "/config/defaults", 404)
    await put(running, "defaults", {"agent": {"batch_s": 7}})
    listed = await running.get("/config/defaults/revisions", limit=3)
    assert [(each["rev"], each["author"], each["deleted"]) for each in listed["items"]] == [
        (4, "ada", False),
        (3, "bob", True),
        (2, "ada", False),
    ]
    rest = await running.get("/config/defaults/revisions", cursor=listed["next"])
    assert [each["rev"] for each in rest["items"]] == [1]
    assert rest["next"] is None
    second = await running.get("/config/defaults/revisions/2")
    assert second["patch"] == {"agent": {"batch_s": 6}}
    assert second["changes"] == [
        {"path": "/agent/batch_s", "before": 5, "after": 6, "kind": "changed"}
    ]
    back = await call(running, "POST", "/config/defaults/rollback", 200, {"rev": 1})
    assert (back["rev"], back["patch"], back["message"]) == (5, first["patch"], "rollback to 1")
    await call(running, "POST", "/config/defaults/rollback", 404, {"rev": 3})
    await call(running, "POST", "/config/defaults/rollback", 404, {"rev": 99})


async def test_of_two_edits_of_one_revision_the_second_is_refused(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    await make_config_node("pi-1")
    await put(running, "defaults", {"agent": {"batch_s": 5}}, 200, **{"If-Match": '"0"'})
    response = await running.http.get("/api/v1/config/defaults")
    assert response.headers["etag"] == '"1"'
    await put(running, "defaults", {"agent": {"batch_s": 6}}, 200, **{"If-Match": '"1"'})
    refused = await put(running, "defaults", {"agent": {"batch_s": 7}}, 412, **{"If-Match": '"1"'})
    assert refused["errors"][0]["field"] == "If-Match"
    assert (await running.get("/config/defaults"))["patch"] == {"agent": {"batch_s": 6}}
    assert (await config_of(running, "pi-1"))["desired_rev"] == 2


async def test_an_overlay_with_a_layer_is_not_deleted(running: RunningCenter) -> None:
    """Or its values would vanish from nodes without a word."""
    overlay = {"selector": "has(label.gpu)", "priority": 5}
    await call(running, "PUT", "/overlays/gpu", 201, overlay)
    await put(running, "overlay/gpu", {"agent": {"batch_s": 1}})
    refused = await call(running, "DELETE", "/overlays/gpu", 409)
    assert refused["title"] == "The overlay has configuration"
    await call(running, "DELETE", "/config/overlay/gpu", 204)
    await call(running, "DELETE", "/overlays/gpu", 204)


async def test_of_many_edits_at_once_one_wins_and_every_revision_is_whole(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    await make_config_node("pi-1")
    await put(running, "defaults", {"agent": {"batch_s": 1}})

    async def edit(batch_s: int, **headers: str) -> int:
        body = {"patch": {"agent": {"batch_s": batch_s}}}
        path = "/api/v1/config/defaults"
        return (await running.http.put(path, json=body, headers=headers)).status_code

    matched = [edit(batch_s, **{"If-Match": '"1"'}) for batch_s in range(2, 10)]
    assert sorted(await asyncio.gather(*matched)) == [200] + [412] * 7
    assert set(await asyncio.gather(*(edit(batch_s) for batch_s in range(10, 16)))) == {200}
    listed = (await running.get("/config/defaults/revisions"))["items"]
    assert [each["rev"] for each in listed] == list(range(8, 0, -1))
    await until_state(running, "pi-1", "applied", 8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rev": -1},
        {"digest": "md5:1"},
        {"state": "pending"},
        {"override": {"config": 7}},
        {"differences": [{"path": "x" * 5000, "expected": "", "found": ""}]},
    ],
)
async def test_a_report_that_is_none_is_refused_and_settled(
    running: RunningCenter, make_config_node: MakeConfigNode, wrong: Any
) -> None:
    node = await make_config_node("pi-1")
    await node.report(**wrong)
    await until(lambda: node.node.acknowledged("reports", 1), "the acknowledgement")
    rejected = (await running.get("/rejected"))["items"]
    assert [each["reason"] for each in rejected] == ["bad_message"]
    assert (await config_of(running, "pi-1"))["state"] == "none"


@pytest.mark.parametrize(
    ("layer", "field"),
    [("group/asia", "group"), ("overlay/gpu", "overlay"), ("node/pi-99", "node")],
)
async def test_a_layer_of_nothing_is_refused(
    running: RunningCenter, make_config_node: MakeConfigNode, layer: str, field: str
) -> None:
    await make_config_node("pi-1")
    refused = await put(running, layer, {"agent": {"batch_s": 5}}, 404)
    assert refused["errors"][0]["field"] == field


@pytest.mark.parametrize("layer", ["group/", "group/all", "group/EU", "nodes/pi-1", "overlay/a b"])
async def test_a_layer_that_can_not_be_is_refused(running: RunningCenter, layer: str) -> None:
    await put(running, layer, {"agent": {}}, 422)


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b'{"patch":[1]}', 422, "an array"),
        (b'{"patch":null}', 422, "null"),
        (b"{}", 422, "null"),
        (b"[]", 422, "list"),
        (b"no json", 422, "body"),
        (b'{"patch":{"a":NaN}}', 422, "body"),
        (b'{"patch":{"a":1e999}}', 422, "body"),
        (b'{"patch":' + deep(40) + b"}", 422, "deeper"),
        (b'{"patch":' + deep(5000) + b"}", 422, "body"),
        (b'{"patch":{"a":18446744073709551616}}', 422, "64-bit"),
        (b'{"patch":{"a":"\\ud800"}}', 422, "body"),
        (b'{"patch":{},"ptch":1}', 422, "ptch"),
        (b'{"patch":{},"author":7}', 422, "author"),
        (b'{"patch":{"a":"' + b"x" * 600_000 + b'"}}', 413, "bytes"),
        (b'{"patch":{"a":"' + b"x" * (5 * MAX_BODY_BYTES) + b'"}}', 413, "bytes"),
    ],
)
async def test_what_is_no_patch_is_refused_and_changes_nothing(
    running: RunningCenter, content: bytes, status: int, words: str
) -> None:
    response = await running.http.put("/api/v1/config/defaults", content=content)
    assert response.status_code == status, response.text
    assert words in response.text
    await call(running, "GET", "/config/defaults", 404)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"agent": {"batch_z": 5}}, "/agent/batch_z"),
        ({"agent": {"batch_s": "often"}}, "/agent/batch_s"),
        ({"agent": 7}, "/agent"),
        ({"files": {"/etc/a": {"content": "x", "template": "y"}}}, "/files/~1etc~1a"),
        ({"files": {"etc/a": {"content": "x"}}}, "/files"),
        ({"health": {"web": {}}}, "/health/web"),
        ({"app": {"cam": {"path": "/etc/cam.json", "on_change": {}}}}, "/app/cam/on_change"),
    ],
)
async def test_what_a_document_does_not_know_is_refused_with_its_path_and_node(
    running: RunningCenter, make_config_node: MakeConfigNode, patch: Any, path: str
) -> None:
    node = await make_config_node("pi-1")
    refused = await put(running, "group/eu", patch, 422)
    assert refused["faults"][0]["path"] == path
    assert refused["faults"][0]["nodes"] == ["pi-1"]
    assert refused["errors"][0]["field"] == path
    await call(running, "GET", "/config/group/eu", 404)
    assert node.got() == []


async def test_a_layer_alone_may_be_incomplete_but_its_nodes_must_be_whole(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    await make_config_node("pi-1")
    await make_config_node("pi-2", group="us")
    await put(running, "node/pi-1", {"app": {"cam": {"path": "/etc/cam"}}})
    refused = await put(running, "defaults", {"app": {"cam": {"mode": "0600"}}}, 422)
    assert [fault["nodes"] for fault in refused["faults"]] == [["pi-2"]]


SCHEMA = {
    "type": "object",
    "required": ["fps"],
    "properties": {"fps": {"type": "integer", "maximum": 60}},
}


async def test_a_stored_schema_is_checked_on_every_node_that_a_change_touches(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    await make_config_node("pi-1")
    await make_config_node("pi-2", group="us")
    entry = {"path": "/etc/cam", "document": {"fps": 30}}
    await put(running, "defaults", {"app": {"cam": entry}})
    stored = await call(
        running, "PUT", "/config/schemas/app/cam", 200, {"definition": SCHEMA, "author": "ada"}
    )
    assert (stored["document"], stored["rev"]) == ("app/cam", 1)
    refused = await put(running, "group/eu", {"app": {"cam": {"document": {"fps": 90}}}}, 422)
    assert refused["faults"] == [
        {
            "path": "/app/cam/document/fps",
            "message": "90 is greater than the maximum of 60",
            "count": 1,
            "nodes": ["pi-1"],
        }
    ]
    stricter = {**SCHEMA, "required": ["fps", "codec"]}
    refused = await call(running, "PUT", "/config/schemas/app/cam", 422, {"definition": stricter})
    assert refused["faults"][0]["nodes"] == ["pi-1", "pi-2"]
    listed = await running.get("/config/schemas")
    assert [each["document"] for each in listed["items"] if not each["built_in"]] == ["app/cam"]
    await call(running, "DELETE", "/config/schemas/app/cam", 204)
    await put(running, "group/eu", {"app": {"cam": {"document": {"fps": 90}}}})
    await call(running, "DELETE", "/config/schemas/app/cam", 404)


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        (7, "an object"),
        ({"type": "wat"}, "wat"),
        ({"$ref": "http://127.0.0.1:1/x.json"}, "nothing is fetched"),
        ({"$ref": "#/$defs/none"}, "leads nowhere"),
        ({"$id": "http://x/y"}, "$id"),
        ({"properties": {"a": {"format": "iri-reference"}}}, "not checked here"),
        ({"pattern": "("}, "can't be read"),
        ({"pattern": r"(a)\1"}, "can't be read"),
        ({"patternProperties": {"(?=x)": {}}}, "can't be read"),
        ({"pattern": "(((a{99}){99}){99})"}, "can't be read"),
        ({"patternProperties": {"x": {}}, "unevaluatedProperties": False}, "additionalProperties"),
        ({"description": "x" * 70_000}, "bytes"),
    ],
)
async def test_a_schema_that_is_not_taken_says_why(
    running: RunningCenter, definition: Any, words: str
) -> None:
    refused = await call(running, "PUT", "/config/schemas/lamp", 422, {"definition": definition})
    assert words in str(refused["errors"])


async def test_a_schema_without_an_end_is_stopped(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    await make_config_node("pi-1")
    await put(running, "defaults", {"lamp": {"on": True}})
    twice = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}
    for definition in ({"$ref": "#"}, {"$defs": {**twice, "d30": {}}, "$ref": "#/$defs/d0"}):
        refused = await call(
            running, "PUT", "/config/schemas/lamp", 422, {"definition": definition}
        )
        assert "does not come to an end" in refused["faults"][0]["message"]


async def test_a_preview_says_what_would_change_where_and_writes_nothing(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    nodes = [await make_config_node(f"pi-{n}", group=f"g{n % 2}") for n in range(4)]
    await put(running, "defaults", {"agent": {"batch_s": 5}})
    await put(running, "node/pi-3", {"agent": {"batch_s": 9, "log_level": "INFO"}})
    for node in nodes:
        await until_state(running, node.name, "applied", 2 if node.name == "pi-3" else 1)
    body = {"layer": "defaults", "patch": {"agent": {"batch_s": 6, "log_level": "DEBUG"}}}
    found = await call(running, "POST", "/config/preview", 200, body)
    assert (found["nodes"], found["changed"], found["valid"]) == (4, 3, True)
    assert found["items"] == [
        {
            "count": 3,
            "nodes": ["pi-0", "pi-1", "pi-2"],
            "changes": [
                {"path": "/agent/batch_s", "before": 5, "after": 6, "kind": "changed"},
                {"path": "/agent/log_level", "before": None, "after": "DEBUG", "kind": "added"},
            ],
            "left_out": 0,
        }
    ]
    bad = {"layer": "group:g1", "patch": {"agent": {"batch_s": -1}}}
    found = await call(running, "POST", "/config/preview", 200, bad)
    # pi-3 has its own value above the bad one.
    assert (found["valid"], found["faults"][0]["nodes"]) == (False, ["pi-1"])
    schema = {"schema": "agent", "definition": {"properties": {"batch_s": {"maximum": 8}}}}
    found = await call(running, "POST", "/config/preview", 200, schema)
    assert (found["valid"], found["faults"][0]["nodes"]) == (False, ["pi-3"])
    found = await call(
        running, "POST", "/config/preview", 200, {"layer": "node:pi-3", "delete": True}
    )
    assert found["items"][0]["changes"][1]["kind"] == "removed"
    for wrong in ({}, {"layer": "defaults"}, {"layer": "x:y", "patch": {}}, {"schema": "A/B"}):
        await call(running, "POST", "/config/preview", 422, wrong)
    assert [len(node.got()) for node in nodes] == [1, 1, 1, 2]
    assert (await running.get("/config/defaults"))["rev"] == 1


async def test_a_node_that_moves_to_where_it_would_break_gets_nothing_and_says_why(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    node = await make_config_node("pi-1", group="eu")
    await make_config_node("pi-2", group="us")
    await put(running, "node/pi-1", {"agent": {"heartbeat_s": 9}})
    await put(running, "group/us", {"agent": {"batch_s": 5}})
    await until_state(running, "pi-1", "applied", 1)
    either = {"not": {"required": ["batch_s", "heartbeat_s"]}}
    await call(running, "PUT", "/config/schemas/agent", 200, {"definition": either})
    moved = await running.http.patch("/api/v1/nodes/pi-1", json={"group": "us"})
    assert moved.status_code == 200
    found = await until_state(running, "pi-1", "failed", 1)
    assert (found["error"]["code"], found["error"]["path"]) == ("invalid", "/agent")
    events = await running.get("/events", kind="config.invalid")
    assert [event["node"] for event in events["items"]] == ["pi-1"]
    # Others are not kept from anything by it, and what would heal it is taken.
    assert (await put(running, "defaults", {"lamp": {}}))["nodes"] == 1
    assert (await running.get("/nodes/pi-1/config"))["state"] == "failed"
    assert len(node.got()) == 1
    await put(running, "node/pi-1", {"agent": {"log_level": "INFO"}})
    await until_state(running, "pi-1", "applied", 2)
    assert node.got()[-1].group == "us"
    assert node.got()[-1].config == {"agent": {"batch_s": 5, "log_level": "INFO"}, "lamp": {}}


async def test_a_schema_that_is_loosened_frees_the_nodes_that_it_held(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    await make_config_node("pi-1", group="eu")
    await make_config_node("pi-2", group="us")
    await put(running, "node/pi-1", {"agent": {"heartbeat_s": 9}})
    await put(running, "group/us", {"agent": {"batch_s": 5}})
    either = {"not": {"required": ["batch_s", "heartbeat_s"]}}
    await call(running, "PUT", "/config/schemas/agent", 200, {"definition": either})
    await running.http.patch("/api/v1/nodes/pi-1", json={"group": "us"})
    await until_state(running, "pi-1", "failed", 1)
    await call(running, "DELETE", "/config/schemas/agent", 204)
    await until_state(running, "pi-1", "applied", 2)


async def test_a_node_that_is_removed_takes_its_rows_along(
    running: RunningCenter, make_config_node: MakeConfigNode
) -> None:
    node = await make_config_node("pi-1")
    await put(running, "node/pi-1", {"agent": {"heartbeat_s": 9}})
    await until_state(running, "pi-1", "applied", 1)
    await node.node.publish("presence", {"state": "offline", "boot": "b00t", "conn": 1})

    async def gone() -> bool:
        return (await running.http.delete("/api/v1/nodes/pi-1")).status_code == 204

    await until(gone)
    await call(running, "GET", "/nodes/pi-1/config", 404)

    def rows(conn: Any) -> list[int]:
        tables = ("node_config", "config_layer", "config_revision", "config_body")
        return [conn.exec_driver_sql(f"SELECT count(*) FROM {t}").scalar() for t in tables]

    assert await running.center.database.read(rows) == [0, 0, 0, 0]
