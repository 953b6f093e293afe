"""The tasks of the small center: records that a test moves, and the calls that it takes."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

if TYPE_CHECKING:
    from cli.conftest import ContractCenter

API = "/api/v1"
SINCE = "2026-03-01T10:00:00.000Z"


def instance(number: int, state: str, node: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "instance": number, "attempt": 1, "epoch": 7, "node": node, "state": state, "since": SINCE,
        "healthy": None, "restarts": 0, "exit_code": None, "reason": None, "result": None,
        "pending_reason": None, "cpus": [], "gpus": [], **more,
    }  # fmt: skip


def task(name: str = "camera", state: str = "running", **more: Any) -> dict[str, Any]:
    instances = more.pop("instances", [])
    summary: dict[str, int] = {}
    for each in instances:
        summary[each["state"]] = summary.get(each["state"], 0) + 1
    spec = {"kind": "service", "driver": "process", "count": max(1, len(instances))}
    return {
        "name": name, "revision": 3, "spec": spec | more.pop("spec", {}), "digest": "sha256:0",
        "wanted": "run", "state": state, "created": SINCE, "updated": SINCE, "next": None,
        "instances": instances, "summary": summary, **more,
    }  # fmt: skip


def item(name: str, now: str, reason: str | None = None) -> dict[str, Any]:
    return {"task": name, "instance": 0, "state": now, "reason": reason}


def drain_of(node: str, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "node": node, "drained": True, "since": SINCE, "deadline": None, "reason": "fan",
        "by": "ada", "instances": len(items), "items": list(items), **more,
    }  # fmt: skip


def leave(center: "ContractCenter", node: str, *items: dict[str, Any], **more: Any) -> None:
    """So much is left at the node from now on, and an event tells of it."""

    def both() -> None:
        center.drains[node] = drain_of(node, *items, **more)
        center.emit("task.stopped", node=node)

    center.on_loop(both)


def move(center: "ContractCenter", name: str, state: str, *instances: dict[str, Any]) -> None:
    """The task is otherwise from now on, and an event tells of it."""

    def both() -> None:
        center.tasks[name] = task(
            name, state, spec=center.tasks[name]["spec"], instances=list(instances)
        )
        center.emit(f"task.{state}", task=name)

    center.on_loop(both)


def task_routes(
    app: FastAPI, center: "ContractCenter", problem: Callable[..., JSONResponse], paged: Any
) -> None:
    @app.get(API + "/tasks")
    async def tasks(request: Request) -> Any:
        some = [
            {k: v for k, v in each.items() if k != "instances"} for each in center.tasks.values()
        ]
        return paged(some, request)

    @app.get(API + "/tasks/schema")
    async def schema() -> Any:
        return {"type": "object"}

    @app.put(API + "/tasks/{name}")
    async def put(name: str, request: Request) -> Any:
        spec = await request.json()
        if "driver" not in spec:
            errors = [{"field": "driver", "detail": "it is missing", "expected": "a driver"}]
            return problem(422, "Not valid", detail="driver: it is missing", errors=errors)
        new = name not in center.tasks
        center.tasks.setdefault(name, task(name, "pending", spec=spec))
        answer = {"name": name, "revision": 1, "spec": spec, "digest": "sha256:0", "changed": True}
        answer["notes"] = [{"field": "driver", "detail": "nobody has it yet", "expected": ""}]
        return JSONResponse(answer, status_code=201 if new else 200)

    @app.get(API + "/tasks/{name}")
    async def one(name: str) -> Any:
        if name not in center.tasks:
            return problem(404, "No such task", detail=f"there is no task {name!r}")
        return json.loads(json.dumps(center.tasks[name]))

    @app.delete(API + "/tasks/{name}")
    async def delete(name: str) -> Any:
        return center.tasks.pop(name) | {"wanted": "delete", "state": "deleting"}

    @app.get(API + "/tasks/{name}/explain")
    async def explain(name: str) -> Any:
        return center.explained[name]

    @app.get(API + "/tasks/{name}/history")
    async def history(name: str) -> Any:
        return {"items": center.task_history[name]}

    @app.post(API + "/tasks/{name}/{way}")
    async def steer(name: str, way: str) -> Any:
        center.tasks[name]["state"] = "pending" if way != "stop" else "stopped"
        return center.tasks[name]

    @app.post(API + "/nodes/{node}/drain")
    @app.get(API + "/nodes/{node}/drain")
    async def drain(node: str) -> Any:
        return center.drains.get(node) or drain_of(node, item("web", "running"), deadline=SINCE)

    @app.post(API + "/nodes/{node}/undrain")
    async def undrain(node: str) -> Any:
        return {"node": node, "drained": False, "instances": 0}

    @app.get(API + "/pool")
    async def pool() -> Any:
        return center.pool

    @app.get(API + "/pool/silos")
    async def silos() -> Any:
        return center.pool

    @app.get(API + "/quotas")
    async def quotas() -> Any:
        return {"items": list(center.quotas.values()), "next": None}

    @app.put(API + "/quotas/{group:path}")
    async def put_quota(group: str, request: Request) -> Any:
        body = await request.json()
        used = {"cpu_cores": 3.0, "memory_bytes": 2**30, "instances": 2}
        center.quotas[group] = {"group": group, "allowed": body, "used": used, "revision": 1}
        return center.quotas[group]

    @app.delete(API + "/quotas/{group:path}", status_code=204)
    async def delete_quota(group: str) -> Response:
        del center.quotas[group]
        return Response(status_code=204)
