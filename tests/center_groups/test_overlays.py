"""Overlays and selectors over HTTP: saved, listed, refused; and used by lists and commands."""

from typing import Any

import pytest
from center_groups.conftest import Stage

GPU = {"selector": "fact.gpus.vendor = nvidia  and (label.env=prod)", "priority": 10}


async def fleet(stage: Stage) -> None:
    await stage.born("pi-1", "eu/hamburg", labels={"env": "prod", "line": "3"})
    await stage.born("pi-2", "eu/bremen", labels={"env": "test"})
    await stage.born("web1", "us", labels={"env": "prod"})
    await stage.facts("pi-1", {"gpus": [{"vendor": "nvidia"}], "mem": {"total_bytes": 8 * 10**9}})
    await stage.facts("web1", {"mem": {"total_bytes": 2 * 10**9}})


async def test_an_overlay_is_saved_in_its_canonical_text(stage: Stage) -> None:
    await fleet(stage)
    stage.changes.clear()
    made = await stage.ask("PUT", "/overlays/gpu", json={**GPU, "description": "with a GPU"})
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    assert made.json()["selector"] == "fact.gpus.vendor=nvidia and label.env=prod"
    assert stage.changes == [None]
    shown = await stage.ask("GET", "/overlays/gpu")
    assert (shown.json()["nodes"], shown.json()["description"]) == (1, "with a GPU")
    members = await stage.running.get("/overlays/gpu/nodes")
    assert [(node["name"], node["group"], node["state"]) for node in members["items"]] == [
        ("pi-1", "eu/hamburg", "online")
    ]
    again = await stage.ask("PUT", "/overlays/gpu", json={"selector": "all", "priority": 10})
    assert (again.status_code, again.headers["ETag"]) == (200, '"2"')
    page = await stage.running.get("/overlays/gpu/nodes", limit=2)
    assert ([n["name"] for n in page["items"]], page["next"]) == (["pi-1", "pi-2"], "pi-2")
    rest = await stage.running.get("/overlays/gpu/nodes", limit=2, cursor="pi-2")
    assert ([n["name"] for n in rest["items"]], rest["next"]) == (["web1"], None)
    assert (await stage.ask("DELETE", "/overlays/gpu")).status_code == 204
    assert (await stage.ask("GET", "/overlays/gpu")).status_code == 404
    assert (await stage.ask("GET", "/overlays/gpu/nodes")).status_code == 404


async def test_the_service_lists_them_by_priority_and_after_a_restart(stage: Stage) -> None:
    for name, priority in {"b": 20, "a": 30, "c": 10}.items():
        await stage.ask("PUT", f"/overlays/{name}", json={"selector": "all", "priority": priority})
    service = stage.center.groups
    assert [(o.name, o.priority) for o in service.overlays()] == [("c", 10), ("b", 20), ("a", 30)]
    service.book.fill([])
    await service.start()
    assert [o.name for o in service.overlays()] == ["c", "b", "a"]
    assert (await stage.running.get("/overlays"))["items"][0]["name"] == "c"


@pytest.mark.parametrize(
    ("name", "body", "status", "field", "said"),
    [
        ("gpu", {"selector": "all", "priority": 7}, 409, "priority", "the overlay old has"),
        ("gpu", {"selector": "all", "priority": -1}, 422, "priority", "-1"),
        ("gpu", {"selector": "all", "priority": 2_000_000}, 422, "priority", "2000000"),
        ("gpu", {"selector": "all"}, 422, "priority", "required"),
        ("gpu", {"selector": "all", "priority": "7"}, 422, "priority", "integer"),
        ("GPU", {"selector": "all", "priority": 1}, 422, "name", "expected 1 to 64"),
        ("gpu", {"selector": "all and", "priority": 1}, 422, "selector", "column 8"),
        ("gpu", {"selector": "label.state=1 and state=online", "priority": 1}, 422, "selector",
         "column 19: an overlay can't depend on the state"),
        ("gpu", {"selector": "overlay:old", "priority": 1}, 422, "selector", "another one"),
        ("gpu", {"selector": "all", "priority": 1, "description": "x" * 1025}, 422, "description",
         "1025 characters"),
    ],
)  # fmt: skip
async def test_a_bad_overlay_is_refused(
    stage: Stage, name: str, body: dict[str, Any], status: int, field: str, said: str
) -> None:
    await stage.ask("PUT", "/overlays/old", json={"selector": "all", "priority": 7})
    response = await stage.ask("PUT", f"/overlays/{name}", json=body)
    assert response.status_code == status
    (error,) = response.json()["errors"]
    assert error["field"] == field
    assert said in error["detail"]
    assert [item["name"] for item in (await stage.running.get("/overlays"))["items"]] == ["old"]


async def test_who_comes_late_is_told_so(stage: Stage) -> None:
    body = {"selector": "all", "priority": 7}
    assert (await stage.ask("PUT", "/overlays/x", json=body)).status_code == 201
    assert (await stage.ask("PUT", "/overlays/x", json=body)).status_code == 200
    for method in ("PUT", "DELETE"):
        late = await stage.ask(
            method,
            "/overlays/x",
            json=body if method == "PUT" else None,
            headers={"If-Match": '"1"'},
        )
        assert (late.status_code, late.json()["errors"][0]["field"]) == (412, "If-Match")
    new = await stage.ask("PUT", "/overlays/y", json=body, headers={"If-Match": '"1"'})
    assert new.status_code == 412


async def test_a_list_by_selector_in_pages_and_with_other_filters(stage: Stage) -> None:
    await fleet(stage)
    await stage.ask("PUT", "/overlays/gpu", json=GPU)
    assert await stage.names("label.env=prod") == ["pi-1", "web1"]
    assert await stage.names("fact.mem.total_bytes>=4e9 and not state=offline") == ["pi-1"]
    assert await stage.names("not overlay:gpu") == ["pi-2", "web1"]
    page = await stage.running.get("/nodes", selector="all", limit=2)
    assert ([n["name"] for n in page["items"]], page["next"]) == (["pi-1", "pi-2"], "pi-2")
    both = await stage.running.get("/nodes", selector="label.env=prod", group="eu")
    assert [n["name"] for n in both["items"]] == ["pi-1"]


async def test_changed_facts_and_labels_are_seen_at_once(stage: Stage) -> None:
    await fleet(stage)
    stage.changes.clear()
    await stage.facts("web1", {"mem": {"total_bytes": 9 * 10**9}}, seq=2)
    assert await stage.names("fact.mem.total_bytes>=4e9") == ["pi-1", "web1"]
    await stage.ask("PATCH", "/nodes/web1", json={"labels": {"env": "test"}})
    assert await stage.names("label.env=prod") == ["pi-1"]
    assert stage.changes == [frozenset({"web1"}), frozenset({"web1"})]
    entry = stage.center.nodes.registry.get("web1")
    assert entry is not None
    await stage.center.nodes.said("web1", _offline(str(entry.standing.boot), entry.standing.conn))
    assert await stage.names("state=offline") == ["web1"]
    assert (await stage.ask("DELETE", "/nodes/web1")).status_code == 204
    assert await stage.names("all") == ["pi-1", "pi-2"]


def _offline(boot: str, conn: int) -> Any:
    from farshore_protocol.messages import Presence

    return Presence(state="offline", boot=boot, conn=conn)


async def test_a_selector_is_checked_without_doing_anything(stage: Stage) -> None:
    await fleet(stage)
    found = await stage.running.get("/selectors/check", selector=" ( label.env = 'prod' ) ")
    assert found == {"selector": "label.env=prod", "matches": 2}


@pytest.mark.parametrize("where", ["check", "nodes", "commands"])
async def test_a_bad_selector_is_answered_with_the_place(stage: Stage, where: str) -> None:
    text = "label.env=prod and lable.x=1"
    response = await {
        "check": lambda: stage.ask("GET", "/selectors/check", params={"selector": text}),
        "nodes": lambda: stage.ask("GET", "/nodes", params={"selector": text}),
        "commands": lambda: stage.ask("POST", "/commands", json={"selector": text, "verb": "ping"}),
    }[where]()
    assert response.status_code == 422
    document = response.json()
    assert document["errors"][0]["field"] == "selector"
    assert document["selector"]["text"] == text
    assert document["selector"]["column"] == 20
    assert document["selector"]["near"] == ["label"]
    assert "label.K" in document["selector"]["expected"]


async def test_an_unknown_overlay_is_named_with_the_nearest(stage: Stage) -> None:
    await stage.ask("PUT", "/overlays/gpu", json=GPU)
    response = await stage.ask("GET", "/nodes", params={"selector": "all and overlay:gpus"})
    document = response.json()
    assert (document["selector"]["column"], document["selector"]["near"]) == (9, ["gpu"])


async def test_a_command_for_those_that_a_selector_means(stage: Stage) -> None:
    await fleet(stage)
    body = {"selector": "label.env=prod", "verb": "ping", "ttl_s": 60}
    key = {"Idempotency-Key": "once"}
    made = await stage.ask("POST", "/commands", json=body, headers=key)
    assert made.status_code == 201, made.text
    assert [target["node"] for target in made.json()["targets"]] == ["pi-1", "web1"]
    await stage.ask("PATCH", "/nodes/pi-2", json={"labels": {"env": "prod"}})
    again = await stage.ask("POST", "/commands", json=body, headers=key)
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    other = await stage.ask("POST", "/commands", json={**body, "selector": "all"}, headers=key)
    assert other.status_code == 422


async def test_an_empty_selection_is_refused_unless_it_is_allowed(stage: Stage) -> None:
    await fleet(stage)
    body = {"selector": "label.env=none", "verb": "ping"}
    refused = await stage.ask("POST", "/commands", json=body)
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert (error["field"], error["detail"]) == ("selector", "the selector means no node now")
    made = await stage.ask("POST", "/commands", json={**body, "allow_empty": True})
    assert made.status_code == 201, made.text
    assert (made.json()["done"], made.json()["targets"]) == (True, [])
    shown = await stage.ask("GET", f"/commands/{made.json()['id']}")
    assert (shown.status_code, shown.json()["done"]) == (200, True)
    twice = await stage.ask("POST", "/commands", json={**body, "all": True})
    assert twice.json()["errors"][0]["detail"] == "all and selector given"
