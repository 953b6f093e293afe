"""The tree of groups over HTTP: made, moved whole, deleted when empty; and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from center.running import RunningCenter, settings_for
from center_groups.conftest import Stage
from farshore_center.db.errors import DatabaseError
from farshore_center.nodes.model import nodes
from sqlalchemy import Connection, select


async def test_a_group_is_made_changed_and_deleted(stage: Stage) -> None:
    made = await stage.ask("PUT", "/groups/eu", json={"description": "Europe"})
    assert (made.status_code, made.headers["ETag"]) == (201, '"1"')
    changed = await stage.ask(
        "PUT", "/groups/eu", json={"description": "EU"}, headers={"If-Match": '"1"'}
    )
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    shown = (await stage.ask("GET", "/groups/eu")).json()
    assert (shown["description"], shown["nodes"], shown["groups"], shown["created_by"]) == (
        "EU", 0, [], "person",
    )  # fmt: skip
    assert (await stage.ask("DELETE", "/groups/eu")).status_code == 204
    assert (await stage.ask("GET", "/groups/eu")).status_code == 404
    assert await stage.paths() == []


async def test_an_unknown_parent_is_refused_unless_it_is_to_be_made(stage: Stage) -> None:
    await stage.made("europe")
    refused = await stage.ask("PUT", "/groups/eurpe/hamburg", json={})
    assert refused.status_code == 422
    (error,) = refused.json()["errors"]
    assert error["field"] == "path"
    assert "there is no group 'eurpe'; did you mean europe?" in error["detail"]
    assert "parents=true" in error["expected"]
    made = await stage.ask("PUT", "/groups/eu/de/hamburg?parents=true")
    assert made.status_code == 201
    assert await stage.paths() == ["eu", "eu/de", "eu/de/hamburg", "europe"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("EU", "expected 1 to 64 of a-z"),
        ("all", "stands for every"),
        ("all/x", "stands for every"),
        ("a/b/c/d/e/f/g/h", "8 levels"),
        ("eu//x", "expected 1 to 64 of a-z"),
        ("x" * 65, "expected 1 to 64 of a-z"),
    ],
)
async def test_a_bad_path_is_refused(stage: Stage, path: str, said: str) -> None:
    response = await stage.ask("PUT", f"/groups/{path}?parents=true", json={})
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == "path"
    assert said in error["detail"]
    assert await stage.paths() == []


async def test_a_birth_makes_the_group_that_it_names(stage: Stage) -> None:
    await stage.born("pi-1", "eu/hamburg")
    items = (await stage.running.get("/groups"))["items"]
    assert [(i["path"], i["nodes"], i["online"], i["created_by"]) for i in items] == [
        ("eu", 1, 1, "node"),
        ("eu/hamburg", 1, 1, "node"),
    ]
    assert stage.changes == [frozenset({"pi-1"})]
    await stage.born("pi-1", "eu/hamburg", conn=2)
    assert stage.changes == [frozenset({"pi-1"})], "nothing changed"


async def test_a_subtree_moves_whole(stage: Stage) -> None:
    await stage.born("pi-1", "eu/hamburg")
    await stage.born("pi-2", "eu/hamburg/line1")
    await stage.born("pi-3", "eu/hamburg2")
    stage.changes.clear()
    moved = await stage.ask(
        "POST", "/groups/eu/hamburg/move?parents=true", json={"to": "de/north/hh"}
    )
    assert moved.status_code == 200, moved.text
    assert (moved.json()["path"], moved.json()["moved_nodes"]) == ("de/north/hh", 2)
    assert await stage.paths() == [
        "de", "de/north", "de/north/hh", "de/north/hh/line1", "eu", "eu/hamburg2",
    ]  # fmt: skip
    assert await stage.names("group:de/**") == ["pi-1", "pi-2"]
    assert await stage.names("group:eu/hamburg2") == ["pi-3"]
    assert stage.changes == [frozenset({"pi-1", "pi-2"})]
    await stage.born("pi-2", "eu/hamburg/line1", conn=2)
    node = (await stage.ask("GET", "/nodes/pi-2")).json()
    assert node["group"] == "de/north/hh/line1", "a birth does not undo what a person did"
    assert "eu/hamburg" not in await stage.paths()


async def test_the_database_holds_what_memory_holds(stage: Stage) -> None:
    """After births, a move and a restart."""
    await stage.born("pi-1", "eu/hamburg")
    await stage.born("pi-2", "eu/hamburg/line1")
    await stage.ask("POST", "/groups/eu/move", json={"to": "europe"})
    await stage.ask("DELETE", "/groups/europe/none")
    before = (await stage.paths(), await stage.names("all"))

    def rows(connection: Connection) -> dict[str, tuple[str, str, int]]:
        columns = select(nodes.c.name, nodes.c.group_path, nodes.c.group_by, nodes.c.revision)
        return {row[0]: (row[1], row[2], row[3]) for row in connection.execute(columns)}

    assert await stage.center.database.read(rows) == {
        "pi-1": ("europe/hamburg", "person", 2),
        "pi-2": ("europe/hamburg/line1", "person", 2),
    }
    await stage.running.stop()
    again = RunningCenter(settings_for(stage.running.settings.data))
    await again.start()
    after = Stage(again)
    try:
        assert (await after.paths(), await after.names("all")) == before
        assert await after.names("state=online") == [], "a center that starts has heard nobody"
        entry = after.center.nodes.registry.get("pi-1")
        assert entry is not None
        assert entry.group == "europe/hamburg"
    finally:
        await again.stop()


@pytest.mark.parametrize(
    ("path", "to", "status", "said"),
    [
        ("eu", "eu/hamburg/eu", 422, "a cycle"),
        ("eu", "eu", 422, "is there already"),
        ("eu", "us", 409, "groups are not merged"),
        ("eu", "a/b/c/d/e/f", 422, "would reach 8 levels"),
        ("eu", "asia/japan", 422, "there is no group 'asia'"),
        ("eu", "", 422, "the root"),
        ("eu", "EU", 422, "expected 1 to 64 of a-z"),
        ("none", "there", 404, "there is no group 'none'"),
    ],
)
async def test_a_bad_move_changes_nothing(
    stage: Stage, path: str, to: str, status: int, said: str
) -> None:
    for made in ("eu/hamburg/line1", "us", "a/b/c/d/e"):
        await stage.made(made)
    before = await stage.paths()
    response = await stage.ask("POST", f"/groups/{path}/move", json={"to": to})
    assert response.status_code == status
    (error,) = response.json()["errors"]
    assert error["field"] == ("to" if status != 404 else "path")
    assert said in error["detail"]
    assert await stage.paths() == before


async def test_only_an_empty_group_is_deleted(stage: Stage) -> None:
    await stage.born("pi-1", "eu/hamburg")
    for path, said in {"eu": "1 nodes and 1 groups", "eu/hamburg": "1 nodes"}.items():
        response = await stage.ask("DELETE", f"/groups/{path}")
        assert response.status_code == 409
        assert said in response.json()["errors"][0]["detail"]
    await stage.ask("PATCH", "/nodes/pi-1", json={"group": ""})
    assert (await stage.ask("DELETE", "/groups/eu")).status_code == 409
    assert (await stage.ask("DELETE", "/groups/eu/hamburg")).status_code == 204
    assert (await stage.ask("DELETE", "/groups/eu")).status_code == 204


async def test_a_person_s_typing_error_makes_no_group(stage: Stage) -> None:
    await stage.born("pi-1", "eu/hamburg")
    refused = await stage.ask("PATCH", "/nodes/pi-1", json={"group": "eu/hambrg"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "group"
    assert "did you mean eu/hamburg?" in refused.json()["errors"][0]["detail"]
    assert await stage.paths() == ["eu", "eu/hamburg"]
    made = await stage.ask("PATCH", "/nodes/pi-1?parents=true", json={"group": "us/x"})
    assert made.json()["group"] == "us/x"
    assert await stage.paths() == ["eu", "eu/hamburg", "us", "us/x"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/groups/eu", {"description": "mine"}),
        ("POST", "/groups/eu/move", {"to": "us"}),
        ("DELETE", "/groups/eu", None),
        ("PUT", "/groups/new", {}),
    ],
)
async def test_who_comes_late_is_told_so(
    stage: Stage, method: str, path: str, body: dict[str, Any] | None
) -> None:
    await stage.made("eu")
    await stage.ask("PUT", "/groups/eu", json={"description": "another's"})
    response = await stage.ask(method, path, json=body, headers={"If-Match": '"1"'})
    assert (response.status_code, response.json()["errors"][0]["field"]) == (412, "If-Match")
    items = (await stage.running.get("/groups"))["items"]
    assert [(item["path"], item["description"]) for item in items] == [("eu", "another's")]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/groups/us/new?parents=true", {}),
        ("PUT", "/groups/eu", {"description": "x"}),
        ("POST", "/groups/eu/move?parents=true", {"to": "us/eu"}),
        ("DELETE", "/groups/empty", None),
        ("PUT", "/overlays/gpu", {"selector": "label.a=1", "priority": 1}),
    ],
)
async def test_a_change_that_can_t_be_written_is_not_made(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    await stage.born("pi-1", "eu/hamburg")
    await stage.made("empty")
    stage.changes.clear()
    before = (await stage.running.get("/groups"), await stage.running.get("/nodes"))

    async def broken(_work: Any) -> Any:
        raise DatabaseError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(stage.center.database, "write", broken)
        assert (await stage.ask(method, path, json=body)).status_code == 503
    assert (await stage.running.get("/groups"), await stage.running.get("/nodes")) == before
    assert (await stage.running.get("/overlays"))["items"] == []
    assert stage.changes == []


class FakeLayers:
    """Configuration's side of the agreement."""

    def __init__(self, paths: set[str], fails: bool = False) -> None:
        self.paths = paths
        self.fails = fails

    def has_layer(self, _connection: Connection, path: str) -> bool:
        return path in self.paths

    def has_overlay_layer(self, _connection: Connection, name: str) -> bool:
        return name in self.paths

    def rename_group(self, _connection: Connection, old: str, new: str) -> None:
        if self.fails:
            raise DatabaseError("no room")
        self.paths = {new + p.removeprefix(old) if p.startswith(old) else p for p in self.paths}


async def test_layers_move_along_and_keep_a_group_from_deletion(stage: Stage) -> None:
    await stage.made("eu/hamburg")
    layers = FakeLayers({"eu/hamburg"})
    stage.center.groups.layers = layers
    refused = await stage.ask("DELETE", "/groups/eu/hamburg")
    assert (refused.status_code, refused.json()["title"]) == (409, "The group has configuration")
    assert await stage.paths() == ["eu", "eu/hamburg"]
    assert (await stage.ask("POST", "/groups/eu/move", json={"to": "europe"})).status_code == 200
    assert layers.paths == {"europe/hamburg"}
    layers.paths, layers.fails = set(), True
    response = await stage.ask("POST", "/groups/europe/move", json={"to": "eu"})
    assert response.status_code == 503
    assert await stage.paths() == ["europe", "europe/hamburg"]


async def test_groups_of_an_older_database_are_found_at_the_start(
    stage: Stage, tmp_path: Path
) -> None:
    """Nodes were there before there was a table of groups, and a table of values."""
    await stage.born("pi-1", "eu/hamburg", labels={"env": "prod"})
    await stage.facts("pi-1", {"mem": {"total_bytes": 4}})

    def forget(connection: Connection) -> None:
        connection.exec_driver_sql('DELETE FROM "group"')
        connection.exec_driver_sql("DELETE FROM node_value")

    await stage.center.database.write(forget)
    await stage.running.stop()
    again = RunningCenter(settings_for(stage.running.settings.data))
    await again.start()
    after = Stage(again)
    try:
        assert await after.paths() == ["eu", "eu/hamburg"]
        assert await after.names("label.env=prod and fact.mem.total_bytes=4") == ["pi-1"]
    finally:
        await again.stop()
