"""Promises of the route and of problem details, over HTTP against the real application."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from farshore_center.api.problems import FieldError, Problem, install
from farshore_center.db.database import Database
from farshore_center.telemetry import inbox, store
from farshore_center.telemetry.routes import telemetry_routes
from farshore_center.telemetry.samples import Batch
from farshore_center.telemetry.service import HistorySettings, TelemetryHistory
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

T0_MS = 1_763_830_020_000
NOW_MS = T0_MS + 60_000


class Body(BaseModel):
    count: int = Field(ge=1)


def build(history: TelemetryHistory) -> FastAPI:
    async def known_node(node: str) -> bool:
        return node == "pi-17"

    app = FastAPI()
    install(app)
    app.include_router(telemetry_routes(history, known_node, lambda: NOW_MS))

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("the secret inside")

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout", headers={"X-Handle": "left"})

    @app.get("/several")
    async def several() -> None:
        errors = [FieldError(field="a", detail="bad"), FieldError(field="b", detail="worse")]
        raise Problem(status=409, title="Conflict", errors=errors, extra={"current": 7})

    @app.post("/body")
    async def body(given: Body) -> Body:
        return given

    return app


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    database = Database(f"sqlite:///{tmp_path}/center.db")
    await database.start()
    batch = Batch(
        ts_ms=T0_MS,
        dt_ms=[0, 10_000, 20_000],
        series={
            "cpu.percent": [1.0, None, 3.0],
            "mem.used_bytes": [5, 6, 7],
            "io{a=1,b=2}": [0] * 3,
        },
    )
    rows = [inbox.pack("pi-17", batch, received_ms=T0_MS)]
    await database.write(lambda connection: store.insert_batches(connection, rows))
    history = TelemetryHistory(database, lambda: NOW_MS, HistorySettings(max_points=8))
    transport = httpx.ASGITransport(build(history), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://center") as client:
        yield client
    await database.stop()


URL = "/api/v1/nodes/pi-17/telemetry"


async def test_samples_come_as_the_contract_says(client: httpx.AsyncClient) -> None:
    answer = await client.get(URL, params={"series": "cpu.percent", "from": "-15m"})
    assert answer.status_code == 200
    assert answer.json() == {
        "series": {
            "cpu.percent": {"t": [T0_MS, T0_MS + 10_000, T0_MS + 20_000], "v": [1.0, None, 3.0]}
        }
    }


@pytest.mark.parametrize(
    "query",
    ["series=cpu.*,mem.*", "series=cpu.*&series=mem.*", "series=mem.*,cpu.percent"],
)
async def test_series_are_globs_repeated_or_with_commas(
    client: httpx.AsyncClient, query: str
) -> None:
    answer = await client.get(f"{URL}?{query}")
    assert list(answer.json()["series"]) == ["cpu.percent", "mem.used_bytes"]


async def test_a_name_with_commas_in_its_labels_is_one_name(client: httpx.AsyncClient) -> None:
    answer = await client.get(URL, params={"series": "io{a=1,b=2}"})
    assert list(answer.json()["series"]) == ["io{a=1,b=2}"]


async def test_step_and_aggregate(client: httpx.AsyncClient) -> None:
    parameters = {"series": "mem.*", "step": "1m", "from": str(T0_MS), "aggregate": "max"}
    answer = await client.get(URL, params=parameters)
    start_ms = T0_MS - T0_MS % 60_000
    assert answer.json()["series"] == {"mem.used_bytes": {"t": [start_ms], "v": [7.0]}}


@pytest.mark.parametrize(
    ("parameters", "field", "expected"),
    [
        ({"step": "often"}, "step", "10s"),
        ({"from": "yesterday"}, "from", "RFC 3339"),
        ({"to": "2025-11-22T10:00:00"}, "to", "offset"),
        ({"from": "now", "to": "-1h"}, "from", "before"),
        ({"aggregate": "median"}, "aggregate", "mean, min, max, last"),
        ({"series": ",".join("a" * 201)}, "series", "globs"),
    ],
)
async def test_a_bad_value_is_answered_by_its_field(
    client: httpx.AsyncClient, parameters: dict[str, str], field: str, expected: str
) -> None:
    answer = await client.get(URL, params=parameters)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert expected in error["expected"]
    assert error["detail"]


async def test_too_many_points_say_what_to_do(client: httpx.AsyncClient) -> None:
    answer = await client.get(URL, params={"from": "-1h"})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "step"
    assert "3s or longer" in error["expected"]
    assert (await client.get(URL, params={"from": "-1h", "step": "1m"})).status_code == 200


async def test_an_unknown_node_is_a_404(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/nodes/pi-18/telemetry")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["field"] == "node"
    assert answer.json()["instance"] == "/api/v1/nodes/pi-18/telemetry"


async def test_the_inside_stays_inside(client: httpx.AsyncClient) -> None:
    answer = await client.get("/broken")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert answer.json()["title"] == "Internal Server Error"


async def test_http_exceptions_keep_status_detail_and_headers(client: httpx.AsyncClient) -> None:
    answer = await client.get("/teapot")
    assert (answer.status_code, answer.json()["detail"]) == (418, "short and stout")
    assert answer.headers["x-handle"] == "left"
    missing = await client.get("/nowhere")
    assert missing.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "nothing is at this address; all calls: /api/v1/openapi.json",
        "instance": "/nowhere",
        "errors": [],
    }
    wrong = await client.post("/teapot")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "GET"


async def test_a_body_that_does_not_fit_names_the_field(client: httpx.AsyncClient) -> None:
    answer = await client.post("/body", json={"count": 0})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["expected"]) == ("count", "at least 1")


async def test_a_problem_can_name_several_fields_and_more(client: httpx.AsyncClient) -> None:
    answer = (await client.get("/several")).json()
    assert [error["field"] for error in answer["errors"]] == ["a", "b"]
    assert answer["current"] == 7
