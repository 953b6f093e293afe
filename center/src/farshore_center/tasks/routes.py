"""``/api/v1/tasks``, ``/api/v1/pool``, ``/api/v1/quotas`` and the draining of nodes over HTTP."""

from typing import Annotated, Any, Protocol

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from farshore_center.config.bodies import read_object
from farshore_center.config.request import etag, signed
from farshore_center.tasks.checking import SCHEMA
from farshore_center.tasks.draining import Drains
from farshore_center.tasks.quota_service import QuotaService
from farshore_center.tasks.quotas import SHOWN
from farshore_center.tasks.reading import TaskReader
from farshore_center.tasks.service import TaskService

MAX_LIMIT = 500
MAX_ROWS = 1000
MAX_DEPTH = 7
MAX_DEADLINE_S = 30 * 86_400

Author = Annotated[str | None, Header(alias="X-Farshore-Author")]
IfMatch = Annotated[str | None, Header()]
MADE: dict[int | str, dict[str, Any]] = {201: {"description": "It was made."}}


SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "tasks/schema"}}},
    }
}
"""For the document of all calls: relative to where that stands."""

QUOTA_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        title: {
                            "type": ["number" if scale > 1 else "integer", "null"],
                            "minimum": 0,
                        }
                        for title, scale in SHOWN.values()
                    },
                    "additionalProperties": False,
                }
            }
        },
    }
}


class Pools(Protocol):
    """What is asked of the pool."""

    async def view(self, nodes: bool = False, /) -> dict[str, Any]: ...
    async def silos(self, depth: int = 1, /) -> dict[str, Any]: ...


class DrainBody(BaseModel):
    """`deadline_s`: after which also what does not move by itself is ended; none: it is waited for."""

    model_config = ConfigDict(extra="forbid", strict=True)

    deadline_s: Annotated[float, Field(ge=0, le=MAX_DEADLINE_S, allow_inf_nan=False)] | None = None
    reason: Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")] = ""


def task_routes(service: TaskService, reader: TaskReader, drains: Drains) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["tasks"])
    _reading(router, reader)
    _deciding(router, service)
    _draining(router, drains)
    return router


def _reading(router: APIRouter, reader: TaskReader) -> None:
    @router.get("/tasks")
    async def list_tasks(
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50, cursor: str | None = None
    ) -> Response:
        """Tasks by name, without their instances."""
        return _json(await reader.page(limit, cursor))

    @router.get("/tasks/schema")
    async def schema() -> Response:
        """The JSON Schema (2020-12) of a specification."""
        return Response(orjson.dumps(SCHEMA), media_type="application/schema+json")

    @router.get("/tasks/{name}")
    async def get(name: str) -> Response:
        """A task with its instances."""
        found = await reader.get(name)
        return _json(found, headers={"ETag": etag(found["revision"])})

    @router.get("/tasks/{name}/explain")
    async def explain(
        name: str,
        instance: Annotated[int | None, Query(ge=0, description="only this one")] = None,
    ) -> Response:
        """Why each instance is where it is, or why it is nowhere."""
        return _json(await reader.explain(name, instance))

    @router.get("/tasks/{name}/history")
    async def history(
        name: str,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 200,
        instance: Annotated[int | None, Query(ge=0, description="only this one")] = None,
    ) -> Response:
        """What happened to a task and its instances, the newest last; also of one that was deleted."""
        return _json(await reader.history(name, limit, instance))


def _deciding(router: APIRouter, service: TaskService) -> None:
    @router.put("/tasks/{name}", responses=MADE, openapi_extra=SPEC_BODY)
    async def put(
        request: Request, name: str, author: Author = None, if_match: IfMatch = None
    ) -> Response:
        """Makes a task, or changes it: the body is its specification."""
        spec = await read_object(request)
        made = await service.put(name, spec, if_match, _by(author))
        return _json(
            {**made.document, "changed": made.changed, "notes": list(made.notes)},
            status=201 if made.created else 200,
            headers={"ETag": made.etag},
        )

    @router.delete("/tasks/{name}")
    async def delete(name: str, author: Author = None, if_match: IfMatch = None) -> Response:
        """Ends every instance, then forgets the task."""
        return _json(await service.delete(name, _by(author), if_match))

    @router.post("/tasks/{name}/stop")
    async def stop(name: str, author: Author = None) -> Response:
        """Ends every instance, and keeps the task."""
        return _json(await service.stop(name, _by(author)))

    @router.post("/tasks/{name}/start")
    async def start(name: str, author: Author = None) -> Response:
        """Runs a stopped task again, and a batch that is over once more."""
        return _json(await service.start(name, _by(author)))

    @router.post("/tasks/{name}/restart")
    async def restart(name: str, author: Author = None) -> Response:
        """Ends every instance orderly and begins it anew."""
        return _json(await service.restart(name, _by(author)))


def _draining(router: APIRouter, drains: Drains) -> None:
    @router.get("/nodes/{node}/drain", tags=["nodes"])
    async def drained(node: str) -> Response:
        """Whether a node is drained, and what of tasks is still there."""
        return _json(await drains.get(node))

    @router.post("/nodes/{node}/drain", tags=["nodes"])
    async def drain(node: str, body: DrainBody | None = None, author: Author = None) -> Response:
        """Gives the node no new work, and moves what it has."""
        said = body or DrainBody()
        return _json(await drains.drain(node, said.deadline_s, said.reason, _by(author)))

    @router.post("/nodes/{node}/undrain", tags=["nodes"])
    async def undrain(node: str, author: Author = None) -> Response:
        """The node takes work again."""
        return _json(await drains.undrain(node, _by(author)))


def pool_routes(pools: Pools) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["pool"])

    @router.get("/pool")
    async def pool(
        nodes: Annotated[bool, Query(description="the same of each node, too")] = False,
    ) -> Response:
        """What there is, what is reserved, used and stranded: in all and by group."""
        return _json(await pools.view(nodes))

    @router.get("/pool/silos")
    async def silos(depth: Annotated[int, Query(ge=1, le=MAX_DEPTH)] = 1) -> Response:
        """The same work, were each group to do its own on its own nodes."""
        return _json(await pools.silos(depth))

    return router


def quota_routes(service: QuotaService) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["quotas"])

    @router.get("/quotas")
    async def list_quotas() -> Response:
        """Every quota with what is reserved of it, by group."""
        return _json(await service.page())

    @router.get("/quotas/{group:path}")
    async def get(group: str) -> Response:
        """The quota of a group; `all` is the whole fleet."""
        return _quota(await service.get(group))

    @router.put("/quotas/{group:path}", responses=MADE, openapi_extra=QUOTA_BODY)
    async def put(
        request: Request, group: str, author: Author = None, if_match: IfMatch = None
    ) -> Response:
        """How much the tasks of a group's subtree may reserve together."""
        body = await read_object(request)
        found, made = await service.put(group, body, _by(author), if_match)
        return _quota(found, status=201 if made else 200)

    @router.delete("/quotas/{group:path}", status_code=204)
    async def delete(group: str, author: Author = None, if_match: IfMatch = None) -> Response:
        """The group has no quota of its own any more; those above it stay."""
        await service.delete(group, _by(author), if_match)
        return Response(status_code=204)

    return router


def _by(author: str | None) -> str:
    return signed(author, None).author


def _quota(document: dict[str, Any], status: int = 200) -> Response:
    return _json(document, status=status, headers={"ETag": etag(document["revision"])})


def _json(
    document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        orjson.dumps(document), status_code=status, media_type="application/json", headers=headers
    )
