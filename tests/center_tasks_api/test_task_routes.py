"""What the routes of tasks hand on, and what they refuse by themselves."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from farshore_center.api import problems
from farshore_center.tasks.routes import pool_routes, task_routes
from farshore_center.tasks.service import Put
from fastapi import FastAPI

API = "/api/v1"
TASK = {"name": "camera", "revision": 4, "state": "running", "instances": []}


class Noted:
    """In place of the service and the pool: notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def put(self, name: str, spec: Any, if_match: str | None, by: str) -> Put:
        self.asked.append(("put", name, spec, if_match, by))
        document = {"name": name, "revision": 4, "spec": spec, "digest": "sha256:0"}
        notes = ({"field": "run", "detail": "not known", "expected": ""},)
        return Put(document=document, created=if_match is None, changed=True, notes=notes)

    def __getattr__(self, name: str) -> Any:
        async def note(*args: Any) -> Any:
            self.asked.append((name, *args))
            return TASK

        return note


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
async def http(noted: Noted) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    problems.install(app)
    service: Any = noted
    app.include_router(task_routes(service, service, service))
    app.include_router(pool_routes(service))
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://center") as client:
        yield client


async def test_a_task_is_put_with_who_and_with_what_it_was_seen_at(
    http: httpx.AsyncClient, noted: Noted
) -> None:
    made = await http.put(f"{API}/tasks/camera", json={"kind": "batch"})
    assert (made.status_code, made.headers["etag"]) == (201, '"4"')
    assert made.json()["notes"] == [{"field": "run", "detail": "not known", "expected": ""}]
    headers = {"If-Match": '"4"', "X-Farshore-Author": "ada"}
    again = await http.put(f"{API}/tasks/camera", json={"kind": "batch"}, headers=headers)
    assert again.status_code == 200
    assert noted.asked == [
        ("put", "camera", {"kind": "batch"}, None, "api"),
        ("put", "camera", {"kind": "batch"}, '"4"', "ada"),
    ]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b'{"run": {"a": NaN}}', "body"),
        (b'{"run": "\xff"}', "body"),
        (b"[" * 5000, "body"),
    ],
)
async def test_what_is_no_object_is_refused(
    http: httpx.AsyncClient, noted: Noted, content: bytes, field: str
) -> None:
    refused = await http.put(f"{API}/tasks/camera", content=content)
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == [field]
    assert noted.asked == []


async def test_a_body_that_is_too_large_is_refused(http: httpx.AsyncClient) -> None:
    content = b'{"run": "' + b"x" * 2**20 + b'"}'
    assert (await http.put(f"{API}/tasks/camera", content=content)).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", "/tasks?limit=7&cursor=a", ("page", 7, "a")),
        ("GET", "/tasks/camera", ("get", "camera")),
        ("GET", "/tasks/camera/explain?instance=3", ("explain", "camera", 3)),
        ("GET", "/tasks/camera/history", ("history", "camera", 200, None)),
        ("POST", "/tasks/camera/stop", ("stop", "camera", "api")),
        ("POST", "/tasks/camera/start", ("start", "camera", "api")),
        ("POST", "/tasks/camera/restart", ("restart", "camera", "api")),
        ("DELETE", "/tasks/camera", ("delete", "camera", "api", None)),
        ("POST", "/nodes/pi-1/drain", ("drain", "pi-1", None, "", "api")),
        ("GET", "/nodes/pi-1/drain", ("get", "pi-1")),
        ("POST", "/nodes/pi-1/undrain", ("undrain", "pi-1", "api")),
        ("GET", "/pool", ("view", False)),
        ("GET", "/pool?nodes=true", ("view", True)),
        ("GET", "/pool/silos?depth=2", ("silos", 2)),
    ],
)
async def test_what_is_asked_is_handed_on(
    http: httpx.AsyncClient, noted: Noted, method: str, path: str, asked: tuple[Any, ...]
) -> None:
    answer = await http.request(method, API + path)
    assert (answer.status_code, answer.json()) == (200, TASK)
    assert noted.asked == [asked]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/tasks?limit=0", None),
        ("GET", "/tasks/camera/history?limit=1001", None),
        ("GET", "/tasks/camera/explain?instance=-1", None),
        ("GET", "/pool/silos?depth=8", None),
        ("POST", "/nodes/pi-1/drain", {"deadline_s": -1}),
        ("POST", "/nodes/pi-1/drain", {"deadline": 5}),
        ("POST", "/nodes/pi-1/drain", {"reason": "\0"}),
    ],
)
async def test_what_is_out_of_bounds_is_refused(
    http: httpx.AsyncClient, noted: Noted, method: str, path: str, body: Any
) -> None:
    refused = await http.request(method, API + path, json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"]
    assert noted.asked == []


async def test_a_drain_says_until_when_and_why(http: httpx.AsyncClient, noted: Noted) -> None:
    body = {"deadline_s": 60, "reason": "fan"}
    headers = {"X-Farshore-Author": "ada"}
    await http.post(f"{API}/nodes/pi-1/drain", json=body, headers=headers)
    assert noted.asked == [("drain", "pi-1", 60, "fan", "ada")]


async def test_the_schema_is_no_task(http: httpx.AsyncClient, noted: Noted) -> None:
    schema = await http.get(f"{API}/tasks/schema")
    assert schema.headers["content-type"].startswith("application/schema+json")
    assert schema.json()["title"] == "TaskSpec"
    assert noted.asked == []


async def test_the_document_of_all_calls_says_what_a_task_is(http: httpx.AsyncClient) -> None:
    calls = (await http.get("/openapi.json")).json()
    body = calls["paths"]["/api/v1/tasks/{name}"]["put"]["requestBody"]
    reference = body["content"]["application/json"]["schema"]["$ref"]
    found = await http.get(f"/api/v1/{reference}")
    assert found.json()["title"] == "TaskSpec"
