"""Promises of the routes, over a real server: the contract's shapes, and what is refused and why."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from center_commands.stage import CommandError, Output, Stage, report
from center_events.serving import Server
from farshore_center.api.problems import Problem, install
from farshore_center.commands import NodeChoice, command_routes
from farshore_center.commands.bodies import CancellationOut, CommandListOut, CommandOut
from fastapi import FastAPI

DEADLINE_S = 20.0
KNOWN = ("pi-1", "pi-2", "pi-3")
PING = {"node": "pi-1", "verb": "ping"}


async def resolve(choice: NodeChoice) -> list[str]:
    if choice.all:
        return list(KNOWN)
    asked = [choice.node] if choice.node is not None else list(choice.nodes or ())
    unknown = [node for node in asked if node not in KNOWN]
    if unknown:
        raise Problem(status=404, title="No such node", field="node", detail=f"{unknown[0]!a}")
    return asked


@pytest_asyncio.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    install(app)
    app.include_router(command_routes(stage.service, resolve))
    server = Server(app)
    await server.start()
    async with httpx.AsyncClient(base_url=f"{server.url}/api/v1", timeout=10) as client:
        yield client
    await server.stop()


async def test_a_new_command_has_the_shape_of_the_contract(client: httpx.AsyncClient) -> None:
    answer = await client.post("/commands", json=PING | {"ttl_s": 30})
    assert answer.status_code == 201
    body = answer.json()
    assert answer.headers["location"] == f"/api/v1/commands/{body['id']}"
    assert body == {
        "id": body["id"],
        "verb": "ping",
        "args": {},
        "created_at": "2023-11-14T22:13:20.000Z",
        "expires_at": "2023-11-14T22:13:50.000Z",
        "timeout_s": 10.0,
        "by": "api",
        "secret": False,
        "erased": False,
        "done": False,
        "summary": {"queued": 1},
        "targets": [
            {
                "node": "pi-1",
                "state": "queued",
                "reason": None,
                "held": False,
                "cancelling": False,
                "updated_at": "2023-11-14T22:13:20.000Z",
                "result": None,
                "error": None,
                "output": [],
                "history": [["queued", "2023-11-14T22:13:20.000Z"]],
            }
        ],
    }


async def test_an_answered_command_shows_everything(
    client: httpx.AsyncClient, stage: Stage
) -> None:
    body = (await client.post("/commands", json=PING | {"nodes": None})).json()
    failed = report(
        body["id"],
        "failed",
        via=(("received", 1_700_000_000_500),),
        at=1_700_000_001_000,
        result={"exit_code": 2},
        error=CommandError(code="exit", message="exit code 2"),
        output=(Output(offset=0, stream="stderr", text="böse\n"),),
    )
    await stage.report(("pi-1", failed))
    body = (await client.get(f"/commands/{body['id']}")).json()
    CommandOut.model_validate(body)
    (target,) = body["targets"]
    assert body["done"] is True
    assert body["summary"] == {"failed": 1}
    assert target["result"] == {"exit_code": 2}
    assert target["error"] == {"code": "exit", "message": "exit code 2"}
    assert target["output"] == [{"offset": 0, "stream": "stderr", "text": "böse\n"}]
    assert target["history"] == [
        ["queued", "2023-11-14T22:13:20.000Z"],
        ["received", "2023-11-14T22:13:20.500Z"],
        ["failed", "2023-11-14T22:13:21.000Z"],
    ]


async def somebody_waits(stage: Stage) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not stage.events.subscribers:  # noqa: ASYNC110 # the log tells nobody who subscribes
            await asyncio.sleep(0.01)


async def test_a_post_that_waits_is_answered_when_the_last_node_is_done(
    client: httpx.AsyncClient, stage: Stage
) -> None:
    body = {"all": True, "verb": "ping"}
    asked = asyncio.create_task(client.post("/commands?wait_s=60", json=body))
    await somebody_waits(stage)
    (made,) = (await stage.service.list()).items
    await stage.report(*((node, report(made.id, "succeeded")) for node in KNOWN[:2]))
    assert not (await client.get(f"/commands/{made.id}?wait_s=0.05")).json()["done"]
    assert not asked.done()
    output = (Output(offset=0, stream="stdout", text="last\n"),)
    await stage.report((KNOWN[2], report(made.id, "failed", output=output)))
    async with asyncio.timeout(DEADLINE_S):
        answer = await asked
    assert answer.status_code == 201
    assert answer.json()["summary"] == {"succeeded": 2, "failed": 1}
    assert answer.json()["targets"][2]["output"][0]["text"] == "last\n"
    assert stage.events.subscribers == 0


async def test_a_wait_for_what_is_done_or_unknown_is_none(
    client: httpx.AsyncClient, stage: Stage
) -> None:
    made = (await client.post("/commands", json=PING)).json()
    await stage.report(("pi-1", report(made["id"], "succeeded")))
    async with asyncio.timeout(DEADLINE_S):
        assert (await client.get(f"/commands/{made['id']}?wait_s=60")).json()["done"]
        assert (await client.get("/commands/none?wait_s=60")).status_code == 404


async def test_a_center_that_stops_ends_the_waits(client: httpx.AsyncClient, stage: Stage) -> None:
    asked = asyncio.create_task(client.post("/commands?wait_s=60", json=PING))
    await somebody_waits(stage)
    stage.events.close()
    async with asyncio.timeout(DEADLINE_S):
        answer = await asked
    assert (answer.status_code, answer.json()["done"]) == (201, False)


@pytest.mark.parametrize("wait_s", ["-1", "61", "nan", "long"])
async def test_how_long_somebody_may_wait(client: httpx.AsyncClient, wait_s: str) -> None:
    answer = await client.post(f"/commands?wait_s={wait_s}", json=PING)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "wait_s"
    assert (await client.get("/commands")).json()["items"] == []


@pytest.mark.parametrize(
    ("choice", "nodes"),
    [
        ({"node": "pi-2"}, ["pi-2"]),
        ({"nodes": ["pi-3", "pi-1", "pi-3"]}, ["pi-1", "pi-3"]),
        ({"all": True}, ["pi-1", "pi-2", "pi-3"]),
    ],
)
async def test_choices(client: httpx.AsyncClient, choice: dict[str, Any], nodes: list[str]) -> None:
    body = (await client.post("/commands", json=choice | {"verb": "ping"})).json()
    assert [target["node"] for target in body["targets"]] == nodes


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        pytest.param({"verb": "ping"}, "node", "exactly one", id="no choice"),
        pytest.param(PING | {"all": True}, "node", "node and all", id="two choices"),
        pytest.param({"verb": "ping", "all": False}, "all", "exactly one", id="all, but not"),
        pytest.param({"verb": "ping", "nodes": []}, "nodes", "empty", id="an empty list"),
        pytest.param({"node": "pi-1"}, "verb", "required", id="no verb"),
        pytest.param(PING | {"verb": "pong"}, "verb", "did you mean ping", id="a near verb"),
        pytest.param(PING | {"verb": "\ud800"}, "verb", "no verb", id="a verb that is no text"),
        pytest.param(PING | {"ttl": 5}, "ttl", "Extra", id="an unknown field"),
        pytest.param(PING | {"ttl_s": 0}, "ttl_s", "greater than 0", id="no time at all"),
        pytest.param(PING | {"ttl_s": 604_801}, "ttl_s", "604800", id="more than 7 days"),
        pytest.param(PING | {"ttl_s": "60"}, "ttl_s", "number", id="a text for a number"),
        pytest.param(PING | {"timeout_s": -1}, "timeout_s", "greater than 0", id="a past timeout"),
        pytest.param(PING | {"args": []}, "args", "dictionary", id="arguments in a list"),
        pytest.param(
            PING | {"args": {"loud": True}}, "args.loud", "no argument", id="ping takes none"
        ),
        pytest.param(
            PING | {"verb": "exec"}, "args.argv", "missing", id="a required argument is missing"
        ),
        pytest.param(
            PING | {"verb": "exec", "args": {"argv": "ls"}}, "args.argv", "array", id="argv a text"
        ),
        pytest.param(
            PING | {"verb": "exec", "args": {"argv": ["ls", 1]}},
            "args.argv[1]",
            "str",
            id="a number in argv",
        ),
        pytest.param(
            PING | {"verb": "exec", "args": {"argv": ["ls"], "cdw": "/"}},
            "args.cdw",
            "cwd",
            id="a slip in an argument's name",
        ),
        pytest.param(
            PING | {"verb": "exec", "args": {"argv": ["x" * 60_000, "y" * 60_000]}},
            "args",
            "bytes",
            id="more than a message holds",
        ),
        pytest.param(
            PING | {"verb": "exec", "args": {"argv": ["\ud800"]}},
            "args",
            "JSON",
            id="text that is no Unicode",
        ),
    ],
)
async def test_what_is_refused_names_its_field(
    client: httpx.AsyncClient, body: dict[str, Any], field: str, says: str
) -> None:
    # Written by the standard library, which lets through what is no Unicode.
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/commands", content=json.dumps(body), headers=headers)
    assert answer.status_code == 422, answer.text
    error = answer.json()["errors"][0]
    assert error["field"] == field
    assert says in f"{error['detail']} {error['expected']}"
    assert (await client.get("/commands")).json()["items"] == []


async def test_the_choice_is_resolved_by_the_nodes_room(client: httpx.AsyncClient) -> None:
    answer = await client.post("/commands", json={"node": "pi-9", "verb": "ping"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (404, "node")


async def test_the_same_key_gives_the_same_command(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "01hx"}
    first = await client.post("/commands", json=PING, headers=key)
    again = await client.post("/commands", json=PING | {"args": {}}, headers=key)
    other = await client.post("/commands", json=PING | {"node": "pi-2"}, headers=key)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 422)
    assert again.json() == first.json()
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_that_is_none(client: httpx.AsyncClient, key: str) -> None:
    answer = await client.post("/commands", json=PING, headers={"Idempotency-Key": key})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


async def test_cancel(client: httpx.AsyncClient, stage: Stage) -> None:
    body = (await client.post("/commands", json={"all": True, "verb": "ping"})).json()
    await stage.report(("pi-2", report(body["id"], "running")))
    answer = await client.post(f"/commands/{body['id']}/cancel")
    assert answer.status_code == 200
    CancellationOut.model_validate(answer.json())
    assert answer.json()["summary"] == {"cancelled": 2, "running": 1}
    assert answer.json()["not_cancelled"] == [
        {"node": "pi-2", "state": "running", "cancelling": True}
    ]
    asking = (await client.get(f"/commands/{answer.json()['asked_by']}")).json()
    assert (asking["verb"], asking["args"]) == ("cancel", {"id": body["id"], "verb": "ping"})
    assert [target["node"] for target in asking["targets"]] == ["pi-2"]
    await stage.report(("pi-2", report(body["id"], "cancelled", seq=2)))
    again = await client.post(f"/commands/{body['id']}/cancel")
    assert again.status_code == 409
    assert again.json()["title"] == "Nothing can be cancelled"


async def test_pages(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await client.post("/commands", json=PING)
    first = (await client.get("/commands", params={"limit": 2})).json()
    CommandListOut.model_validate(first)
    rest = (await client.get("/commands", params={"limit": 2, "cursor": first["next"]})).json()
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (2, 1, None)
    assert "targets" not in first["items"][0]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/commands/none", 404),
        ("/commands?cursor=%%%", 422),
        ("/commands?cursor=YWJj", 422),
        ("/commands?limit=0", 422),
    ],
)
async def test_bad_questions(client: httpx.AsyncClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_secret_command_is_asked_for_by_its_field(client: httpx.AsyncClient) -> None:
    body = {"node": "pi-1", "verb": "exec", "args": {"argv": ["id"]}, "secret": True}
    answer = await client.post("/commands", json=body)
    assert (answer.status_code, answer.json()["secret"], answer.json()["args"]) == (201, True, {})
    assert "argv" not in (await client.get("/commands")).text
