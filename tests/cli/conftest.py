"""A small center that follows docs/api.md, on a real server: what the command line is tested with.

It keeps everything in plain dictionaries that a test fills beforehand, and it plays the part of the
nodes: ``plan`` says what becomes of a command's targets, ``when`` at which moment.
"""

import asyncio
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest
import uvicorn
from cli.job_center import job_routes
from cli.task_center import task_routes
from farshore_center.cli.main import app as farshore
from farshore_center.cli.progress import FINAL, summary_of
from farshore_protocol.commands import VERBS
from farshore_protocol.commands.schema import verb_document
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from typer.testing import CliRunner, Result

AT = "2026-03-01T10:00:00Z"
LATER = "2026-03-01T10:00:00.250Z"
DEADLINE_S = 60

FILTERS = ("node", "kind", "command", "job")

Step = dict[str, Any]


class ContractCenter:
    """State, hooks and the log of what was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.nodes: dict[str, dict[str, Any]] = {}
        self.streams: dict[str, list[dict[str, Any]]] = {}
        self.series: dict[str, dict[str, Any]] = {}
        self.groups: list[dict[str, Any]] = []
        self.rejected: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.commands: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.job_nodes: list[dict[str, Any]] = []
        self.job_history: list[dict[str, Any]] = []
        self.preview: dict[str, Any] = {}
        self.stays: dict[str, Any] = {}
        self.tasks: dict[str, dict[str, Any]] = {}
        self.explained: dict[str, dict[str, Any]] = {}
        self.drains: dict[str, dict[str, Any]] = {}
        self.task_history: dict[str, list[dict[str, Any]]] = {}
        self.pool: dict[str, Any] = {}
        self.quotas: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.plan: dict[str, list[Step]] = {}
        self.when = "subscribe"
        self.sse = True
        self.page = 500
        self.fail_next: list[int] = []
        self.then_fail = 0
        """A status for everything after the next POST."""
        self.subscribed = threading.Event()
        self.queues: list[tuple[asyncio.Queue[dict[str, Any] | None], dict[str, str]]] = []

    def add_node(self, name: str, *, group: str = "", online: bool = True, **more: Any) -> None:
        self.nodes[name] = {
            "name": name, "group": group, "labels": {}, "facts": {},
            "state": "online" if online else "offline", "last_seen": AT, "boot": "9f3c", "conn": 1,
            "agent_version": "0.1.0", "protocol": 1, "clock_offset_ms": 12.5,
            "capabilities": {
                "verbs": ["ping", "exec"], "drivers": [], "verbs_digest": "ea0f1393"
            },
            "created_at": AT,
            "config": {"desired_rev": None, "reported_rev": None, "state": "none"},
            "queue": {"metrics": {"records": 2, "bytes": 2048}},
            "latest": {"cpu.percent": 3.1, "mem.percent": 40.0}, **more,
        }  # fmt: skip

    def on_loop(self, call: Callable[[], None]) -> None:
        """Run something where the server runs, and wait for it."""
        done = threading.Event()
        assert self.loop is not None

        def both() -> None:
            call()
            done.set()

        self.loop.call_soon_threadsafe(both)
        assert done.wait(DEADLINE_S)

    def emit(
        self,
        kind: str,
        node: str | None = None,
        command: str | None = None,
        job: str | None = None,
        **data: Any,
    ) -> None:
        event = {
            "id": len(self.events) + 1, "at": LATER, "kind": kind,
            "node": node, "command": command, "job": job, "data": data,
        }  # fmt: skip
        self.events.append(event)
        for queue, wanted in self.queues:
            if _matches(event, wanted):
                queue.put_nowait(event)

    def cut(self) -> None:
        """End every live stream, as a restart of the center would."""
        for queue, _ in self.queues:
            queue.put_nowait(None)

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        names = [body["node"]] if "node" in body else body.get("nodes") or list(self.nodes)
        made = {
            "id": f"c{len(self.commands) + 1}", "verb": body["verb"], "args": body["args"],
            "created_at": AT, "expires_at": AT, "timeout_s": body.get("timeout_s"), "done": False,
            "summary": {},
            "targets": [
                {"node": n, "state": "queued", "reason": None, "updated_at": AT, "result": None,
                 "error": None, "output": [], "history": [["queued", AT]]}
                for n in names
            ],
        }  # fmt: skip
        self.commands[made["id"]] = made
        self._count(made)
        return made

    def play(self, command: dict[str, Any]) -> None:
        """Every target goes through its plan; each step is recorded and told."""
        for target in command["targets"]:
            for step in self.plan.get(target["node"], []):
                self.step(command, target, step)

    def step(self, command: dict[str, Any], target: dict[str, Any], step: Step) -> None:
        if target["state"] in FINAL:
            return
        target.update({k: v for k, v in step.items() if k != "output"}, updated_at=LATER)
        target["output"] = [*target["output"], *step.get("output", [])]
        self._count(command)
        self.emit("command.target", target["node"], command["id"], **step)

    def _count(self, command: dict[str, Any]) -> None:
        command["summary"] = summary_of(command["targets"])
        command["done"] = all(t["state"] in FINAL for t in command["targets"])


def _matches(event: dict[str, Any], wanted: dict[str, str]) -> bool:
    return all(event[key] == value for key, value in wanted.items())


def problem(status: int, title: str, **more: Any) -> JSONResponse:
    document = {"type": "about:blank", "title": title, "status": status, **more}
    return JSONResponse(document, status_code=status, media_type="application/problem+json")


def build(center: ContractCenter) -> FastAPI:
    app = FastAPI()
    api = "/api/v1"

    @app.middleware("http")
    async def note(request: Request, call_next: Any) -> Any:
        body = await request.body()
        center.asked.append(
            (
                request.method,
                request.url.path.removeprefix(api),
                dict(request.query_params)
                | {
                    "!accept": request.headers.get("accept", ""),
                    "!last": request.headers.get("last-event-id", ""),
                },
                json.loads(body) if body else None,
            )
        )
        if center.fail_next:
            return problem(center.fail_next.pop(0), "No", detail="told to fail")
        answer = await call_next(request)
        if center.then_fail and request.method == "POST":
            center.fail_next = [center.then_fail] * 10_000
        return answer

    def paged(items: list[dict[str, Any]], request: Request) -> dict[str, Any]:
        start = int(request.query_params.get("cursor", "0"))
        end = start + min(center.page, int(request.query_params.get("limit", "100")))
        return {"items": items[start:end], "next": str(end) if end < len(items) else None}

    @app.get(api + "/nodes")
    async def nodes(request: Request) -> Any:
        state, group = request.query_params.get("state"), request.query_params.get("group")
        items = [
            node
            for node in center.nodes.values()
            if state in (None, node["state"])
            and (group is None or f"{node['group']}/".startswith(f"{group}/"))
        ]
        return paged(items, request)

    @app.get(api + "/nodes/{name}")
    async def node(name: str) -> Any:
        if name not in center.nodes:
            return problem(404, "Not found", detail=f"there is no node {name!r}")
        return center.nodes[name]

    @app.get(api + "/nodes/{name}/streams")
    async def node_streams(name: str) -> Any:
        return {"items": center.streams.get(name, [])}

    @app.get(api + "/streams")
    async def streams(request: Request) -> Any:
        items = []
        for name, books in center.streams.items():
            for book in books:
                lost = sum(b - a + 1 for a, b in (loss["range"] for loss in book["lost"]))
                summary = {k: v for k, v in book.items() if k != "lost"}
                items.append({"node": name, **summary, "lost_records": lost})
        return paged(items, request)

    @app.get(api + "/nodes/{name}/telemetry")
    async def telemetry(name: str, request: Request) -> Any:
        globs = request.query_params.getlist("series") or ["*"]
        found = {
            series: points
            for series, points in center.series.items()
            if any(fnmatchcase(series, glob) for glob in globs)
        }
        return {"series": found}

    @app.get(api + "/verbs")
    async def verbs() -> Any:
        items = [
            verb_document(VERBS[name]) | {"known": True, "nodes": len(center.nodes)}
            for name in ("exec", "ping")
        ]
        return {"items": items, "next": None}

    @app.get(api + "/nodes/{name}/verbs")
    async def node_verbs(name: str) -> Any:
        if name not in center.nodes:
            return problem(404, "No such node", detail=f"there is no node {name!r}")
        items = [verb_document(VERBS["ping"]) | {"known": True, "nodes": 1}]
        nothing = dict.fromkeys(items[0])
        items.append(nothing | {"name": "blink\x1b[31m", "known": False, "nodes": 1})
        return {"items": items, "next": None, "digest": "0", "same": False}

    @app.get(api + "/groups")
    async def groups(request: Request) -> Any:
        return paged(center.groups, request)

    @app.get(api + "/rejected")
    async def rejected(request: Request) -> Any:
        return paged(center.rejected, request)

    @app.post(api + "/commands", status_code=201)
    async def create(request: Request) -> Any:
        assert request.headers["idempotency-key"]
        body = await request.json()
        if "selector" in body and not center.nodes and not body.get("allow_empty"):
            return problem(422, "The command has no target", detail="it means no node now")
        if body["verb"] == "nonsense":
            errors = [{"field": "verb", "detail": "no node knows it", "expected": "ping, exec"}]
            return problem(422, "Not valid", detail="1 field is wrong", errors=errors)
        made = center.create(body)
        answer = json.loads(json.dumps(made))
        if center.when == "post":
            center.play(made)
        return answer

    @app.get(api + "/commands")
    async def commands(request: Request) -> Any:
        items = [{k: v for k, v in c.items() if k != "targets"} for c in center.commands.values()]
        return paged(items[::-1], request)

    @app.get(api + "/commands/{command_id}")
    async def command(command_id: str) -> Any:
        found = center.commands.get(command_id)
        if found is None:
            return problem(404, "Not found", detail=f"there is no command {command_id!r}")
        answer = json.loads(json.dumps(found))
        if center.when == "look":
            center.play(found)
        return answer

    @app.post(api + "/commands/{command_id}/cancel")
    async def cancel(command_id: str) -> Any:
        found = center.commands[command_id]
        late = [t for t in found["targets"] if t["state"] == "running" or t["state"] in FINAL]
        for target in found["targets"]:
            if target not in late:
                center.step(found, target, {"state": "cancelled"})
        not_cancelled = [{"node": t["node"], "state": t["state"]} for t in late]
        return {**found, "not_cancelled": not_cancelled}

    @app.get(api + "/events")
    async def events(request: Request) -> Any:
        wanted = {k: v for k, v in request.query_params.items() if k in FILTERS}
        if "text/event-stream" not in request.headers.get("accept", ""):
            found = [event for event in center.events if _matches(event, wanted)]
            return {"items": found[-int(request.query_params.get("limit", "100")) :], "next": None}
        if not center.sse:
            return problem(500, "Broken", detail="no live events today")
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        for event in center.events[int(after) if after else len(center.events) :]:
            if _matches(event, wanted):
                queue.put_nowait(event)
        center.queues.append((queue, wanted))
        center.subscribed.set()
        if center.when == "subscribe" and "command" in wanted:
            asyncio.get_running_loop().call_soon(center.play, center.commands[wanted["command"]])
        return StreamingResponse(_stream(center, queue), media_type="text/event-stream")

    job_routes(app, center, problem, paged)
    task_routes(app, center, problem, paged)

    @app.get("/elsewhere/{rest:path}")
    async def elsewhere(rest: str) -> Any:
        return Response("<html>hello</html>", media_type="text/html")

    return app


async def _stream(
    center: ContractCenter, queue: asyncio.Queue[dict[str, Any] | None]
) -> AsyncIterator[str]:
    yield ": here we go\n\n"
    while (event := await queue.get()) is not None:
        yield f"id: {event['id']}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
    center.queues = [(q, wanted) for q, wanted in center.queues if q is not queue]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, center: ContractCenter) -> None:
        super().__init__(config)
        self.center = center
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.center.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.up.set()


@pytest.fixture
def center() -> Iterator[ContractCenter]:
    """A running center without nodes."""
    center = ContractCenter()
    listener = socket.create_server(("127.0.0.1", 0))
    center.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        build(center), log_level="error", ws="none", lifespan="off", timeout_graceful_shutdown=1
    )
    server = _Server(config, center)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert server.up.wait(DEADLINE_S)
    yield center
    center.on_loop(center.cut)
    server.should_exit = True
    thread.join(DEADLINE_S)
    listener.close()
    assert not thread.is_alive()


@pytest.fixture
def cli(center: ContractCenter) -> Callable[..., Result]:
    """``farshore …`` in this process, its output on a pipe."""

    def invoke(*args: str) -> Result:
        return CliRunner().invoke(farshore, ["--url", center.url, *args])

    return invoke


@pytest.fixture
def nowhere() -> str:
    """The address of a center that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def environment(center: ContractCenter) -> dict[str, str]:
    """For ``farshore`` as a process of its own."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**kept, "FARSHORE_URL": center.url, "TERM": "xterm-256color"}
