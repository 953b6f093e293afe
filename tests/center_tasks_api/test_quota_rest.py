"""Quotas over HTTP, and what a group with one permits."""

from typing import Any

import httpx
import msgspec
import pytest
from center.running import RunningCenter
from farshore_center.api.problems import Problem
from farshore_center.tasks import quota_store
from farshore_center.tasks.model import instances, tasks
from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

API = "/api/v1"


async def put(running: RunningCenter, path: str, body: Any, **headers: str) -> httpx.Response:
    return await running.http.put(f"{API}/quotas/{path}", json=body, headers=headers)


@pytest.fixture
async def grouped(running: RunningCenter) -> RunningCenter:
    made = await running.http.put(f"{API}/groups/eu/hamburg", params={"parents": True})
    assert made.status_code == 201
    return running


def spec(cores: float, *, group: str = "", kind: str = "service", count: int = 1) -> TaskSpec:
    return msgspec.convert(
        {
            "kind": kind,
            "driver": "process",
            "group": group,
            "count": count,
            "requests": {"cpu_cores": cores},
        },
        TaskSpec,
    )


def add(conn: Connection, name: str, what: TaskSpec, wanted: str = "run", state: str = "") -> None:
    row = {
        "name": name,
        "revision": 1,
        "spec": msgspec.json.encode(what).decode(),
        "digest": "sha256:0",
        "wanted": wanted,
        "author": "ada",
        "created_ms": 1,
        "updated_ms": 1,
        "asked_ms": 1,
    }
    conn.execute(tasks.insert(), [row])
    if state:
        instance = {"task": name, "instance": 0, "state": state, "since_ms": 1, "revision": 1}
        conn.execute(instances.insert(), [instance])


async def test_a_quota_is_made_shown_changed_and_deleted(grouped: RunningCenter) -> None:
    made = await put(grouped, "eu", {"cpu_cores": 8, "gpus": 0.5}, **{"X-Farshore-Author": "ada"})
    assert made.status_code == 201
    assert made.json() == {
        "group": "eu",
        "allowed": {
            "cpu_cores": 8.0, "memory_bytes": None, "disk_bytes": None, "gpus": 0.5,
            "instances": None,
        },
        "used": {
            "cpu_cores": 0.0, "memory_bytes": 0, "disk_bytes": 0, "gpus": 0.0, "instances": 0,
        },
        "revision": 1,
        "author": "ada",
    }  # fmt: skip
    changed = await put(grouped, "eu", {"instances": 3}, **{"If-Match": made.headers["etag"]})
    assert changed.status_code == 200
    assert changed.json()["allowed"]["cpu_cores"] is None
    late = await put(grouped, "eu", {"instances": 4}, **{"If-Match": made.headers["etag"]})
    assert late.status_code == 412
    assert (await put(grouped, "all", {"cpu_cores": 100})).status_code == 201
    listed = (await grouped.get("/quotas"))["items"]
    assert [each["group"] for each in listed] == ["", "eu"]
    assert (await grouped.http.delete(f"{API}/quotas/eu")).status_code == 204
    gone = await grouped.http.get(f"{API}/quotas/eu")
    assert gone.status_code == 404
    kinds = {event["kind"] for event in (await grouped.get("/events"))["items"]}
    assert {"quota.changed", "quota.deleted"} <= kinds


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cpu_core": 1}, "cpu_core"),
        ({"cpu_cores": -1}, "cpu_cores"),
        ({"memory_bytes": 1.5}, "memory_bytes"),
        ({"instances": True}, "instances"),
        ({"gpus": "2"}, "gpus"),
        ({"cpu_cores": None}, "quota"),
        ({}, "quota"),
        ([], "body"),
    ],
)
async def test_a_wrong_quota_is_refused_by_the_field(
    grouped: RunningCenter, body: Any, field: str
) -> None:
    refused = await put(grouped, "eu", body)
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == [field]


async def test_a_quota_needs_its_group(grouped: RunningCenter) -> None:
    assert (await put(grouped, "us", {"instances": 1})).status_code == 404


async def test_what_runs_or_may_run_counts_and_nothing_else(grouped: RunningCenter) -> None:
    def fill(conn: Connection) -> None:
        add(conn, "serves", spec(1, group="eu", count=2))
        add(conn, "stopped", spec(10, group="eu"), "stop")
        add(conn, "elsewhere", spec(10))
        add(conn, "done", spec(10, group="eu", kind="batch"), state="succeeded")
        add(conn, "waits", spec(0.5, group="eu/hamburg", kind="batch"), state="pending")

    await grouped.center.database.write(fill)
    await put(grouped, "eu", {"cpu_cores": 4})
    shown = await grouped.get("/quotas/eu")
    assert shown["used"]["cpu_cores"] == 2.5
    assert shown["used"]["instances"] == 3

    await grouped.center.database.read(
        lambda conn: quota_store.check(conn, "new", spec(1.5, group="eu/hamburg"))
    )
    await grouped.center.database.read(
        lambda conn: quota_store.check(conn, "serves", spec(1.5, group="eu", count=2))
    )
    await grouped.center.database.read(lambda conn: quota_store.check(conn, "new", spec(99)))
    with pytest.raises(Problem, match=r"1\.6 cpu_cores asked for, 1\.5 left: the group eu"):
        await grouped.center.database.read(
            lambda conn: quota_store.check(conn, "new", spec(1.6, group="eu/hamburg"))
        )
    with pytest.raises(Problem, match=r"12 cpu_cores asked for, 1\.5 left"):
        await grouped.center.database.read(
            lambda conn: quota_store.check(conn, "stopped", spec(12, group="eu"))
        )


async def test_a_quota_comes_along_with_its_group(grouped: RunningCenter) -> None:
    await put(grouped, "eu", {"instances": 9})
    await put(grouped, "eu/hamburg", {"instances": 3})
    moved = await grouped.http.post(f"{API}/groups/eu/move", json={"to": "europe"})
    assert moved.status_code == 200
    listed = (await grouped.get("/quotas"))["items"]
    assert [each["group"] for each in listed] == ["europe", "europe/hamburg"]


async def test_a_group_that_tasks_name_neither_moves_nor_goes(grouped: RunningCenter) -> None:
    await grouped.center.database.write(
        lambda conn: add(conn, "camera", spec(1, group="eu/hamburg"))
    )
    moved = await grouped.http.post(f"{API}/groups/eu/move", json={"to": "europe"})
    assert moved.status_code == 409
    assert "camera" in moved.json()["detail"]
    assert (await grouped.http.delete(f"{API}/groups/eu/hamburg")).status_code == 409
    paths = [each["path"] for each in (await grouped.get("/groups"))["items"]]
    assert paths == ["eu", "eu/hamburg"]


async def test_a_group_with_a_quota_is_not_deleted(grouped: RunningCenter) -> None:
    await put(grouped, "eu/hamburg", {"instances": 3})
    refused = await grouped.http.delete(f"{API}/groups/eu/hamburg")
    assert refused.status_code == 409
    assert "quota" in refused.json()["detail"]
