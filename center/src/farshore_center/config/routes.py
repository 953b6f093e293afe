"""``/api/v1/config`` and ``/api/v1/nodes/{node}/config`` over HTTP.

A group's path holds slashes; where it ends in ``revisions`` or the like, write it with ``~``:
``group/eu~revisions``.
"""

from typing import Annotated, Any

import orjson
from farshore_protocol.config.difference import differences
from fastapi import APIRouter, Header, Query, Request, Response

from farshore_center.api.problems import Problem
from farshore_center.config.address import Address
from farshore_center.config.bodies import address, document, read_body, revision, text
from farshore_center.config.changes import no_schema
from farshore_center.config.checks import BUILT_IN
from farshore_center.config.request import (
    NOT_VALID,
    LayerChange,
    SchemaChange,
    Signed,
    checked_patch,
    etag,
    no_revision,
    signed,
)
from farshore_center.config.room import ConfigRoom
from farshore_center.config.service import Accepted
from farshore_center.config.views import (
    node_config_document,
    revision_document,
    revision_head,
    schema_document,
)

MAX_LIMIT = 500

Author = Annotated[str | None, Header(alias="X-Farshore-Author")]
IfMatch = Annotated[str | None, Header()]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
Cursor = Annotated[str | None, Query(description="`next` of the page before")]


def config_routes(room: ConfigRoom) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["configuration"])
    _schema_routes(router, room)
    _layer_routes(router, room)
    _node_routes(router, room)

    @router.post("/config/preview")
    async def preview(request: Request, limit: Limit = 100, cursor: Cursor = None) -> Response:
        """What a change would do: to which nodes, what from what, and what it would break."""
        body = await read_body(request, "layer", "patch", "rev", "delete", "schema", "definition")
        found = await room.preview(await _change(room, body))
        return _json(found.document(limit, cursor))

    return router


def _layer_routes(router: APIRouter, room: ConfigRoom) -> None:
    # The longer paths first: a group's path may hold slashes.
    @router.get("/config/{layer:path}/revisions/{rev}")
    async def get_revision(layer: str, rev: int) -> Response:
        """One revision, and what it changed of the one before."""
        where = _address(layer)
        found = await room.layers.revision(where, rev)
        before = {} if rev == 1 else (await room.layers.revision(where, rev - 1)).patch
        changes = differences(before, found.patch)
        return _json(revision_document(found) | {"changes": changes})

    @router.get("/config/{layer:path}/revisions")
    async def list_revisions(layer: str, limit: Limit = 50, cursor: Cursor = None) -> Response:
        """The revisions, the newest first, without their patches."""
        where = _address(layer)
        before = None if cursor is None else _number(cursor)
        found = await room.layers.history(where, before, limit + 1)
        if not found:
            room.layers.check_exists(where)
        more = str(found[limit - 1].rev) if len(found) > limit else None
        return _json({"items": [revision_head(each) for each in found[:limit]], "next": more})

    @router.post("/config/{layer:path}/rollback")
    async def rollback(
        layer: str, request: Request, author: Author = None, if_match: IfMatch = None
    ) -> Response:
        """A new revision with the patch of an earlier one."""
        body = await read_body(request, "rev", "message", "author")
        by = _signed(body, author)
        return _accepted(await room.layers.rollback(_address(layer), revision(body), by, if_match))

    @router.put("/config/{layer:path}")
    async def put_layer(
        layer: str, request: Request, author: Author = None, if_match: IfMatch = None
    ) -> Response:
        """A new revision of a layer, if it breaks nothing."""
        where = _address(layer)
        body = await read_body(request, "patch", "message", "author")
        change = LayerChange(address=where, patch=checked_patch(body.get("patch")))
        return _accepted(await room.layers.put(change, _signed(body, author), if_match))

    @router.get("/config/{layer:path}")
    async def get_layer(layer: str) -> Response:
        """A layer as it is now."""
        found = await room.layers.current(_address(layer))
        return _json(revision_document(found), headers={"ETag": etag(found.rev)})

    @router.delete("/config/{layer:path}", status_code=204)
    async def delete_layer(
        layer: str,
        author: Author = None,
        if_match: IfMatch = None,
        message: str | None = None,
    ) -> Response:
        """Ends a layer, if that breaks nothing; its revisions stay."""
        change = LayerChange(address=_address(layer), patch=None)
        await room.layers.put(change, signed(author, message), if_match)
        return Response(status_code=204)


def _schema_routes(router: APIRouter, room: ConfigRoom) -> None:
    @router.get("/config/schemas")
    async def list_schemas() -> Response:
        """The documents that have a schema: those of the agent, and those that people stored."""
        stored = [schema_document(each) for each in (await room.layers.schemas()).values()]
        return _json({"items": [*map(_built_in, BUILT_IN), *stored], "next": None})

    @router.get("/config/schemas/{name:path}")
    async def get_schema(name: str) -> Response:
        """A stored schema; of a document of the agent without one, the built-in."""
        found = (await room.layers.schemas()).get(document(name))
        if found is None and name in BUILT_IN:
            return _json(_built_in(name))
        if found is None:
            raise no_schema(name)
        return _json(schema_document(found), headers={"ETag": etag(found.rev)})

    @router.put("/config/schemas/{name:path}")
    async def put_schema(
        name: str, request: Request, author: Author = None, if_match: IfMatch = None
    ) -> Response:
        """Stores a JSON Schema for a document, if every node's configuration fulfils it."""
        body = await read_body(request, "definition", "message", "author")
        if body.get("definition") is None:
            raise Problem(
                status=422,
                title=NOT_VALID,
                field="definition",
                detail="it is missing",
                expected="a JSON Schema (2020-12)",
            )
        change = SchemaChange(document=document(name), definition=body["definition"])
        found = await room.layers.put_schema(change, _signed(body, author), if_match)
        return _json(schema_document(found), headers={"ETag": etag(found.rev)})

    @router.delete("/config/schemas/{name:path}", status_code=204)
    async def delete_schema(name: str, author: Author = None, if_match: IfMatch = None) -> Response:
        """Ends a stored schema; the built-in ones stay."""
        change = SchemaChange(document=document(name), definition=None)
        await room.layers.put_schema(change, signed(author, None), if_match)
        return Response(status_code=204)


def _node_routes(router: APIRouter, room: ConfigRoom) -> None:
    @router.get("/nodes/{node}/config")
    async def node_config(node: str, explain: bool = False) -> Response:
        """What a node should run; with `explain`, where each value comes from."""
        return _json((await room.explain(node)).document(explain=explain))

    @router.post("/nodes/{node}/config/resolve")
    async def resolve(node: str) -> Response:
        """For a node that is ahead: the center is right, and sends it its configuration anew."""
        return _json(node_config_document(await room.resolve(node)))


async def _change(room: ConfigRoom, body: dict[str, Any]) -> LayerChange | SchemaChange:
    layer, schema = text(body, "layer"), text(body, "schema")
    if (layer is None) == (schema is None):
        raise Problem(
            status=422,
            title=NOT_VALID,
            field="layer",
            detail="neither given" if layer is None else "both given",
            expected="layer or schema",
        )
    if schema is not None:
        return SchemaChange(document=document(schema), definition=body.get("definition"))
    where = address(layer or "")
    given = [key for key in ("patch", "rev", "delete") if key in body]
    if len(given) != 1 or body.get("delete", True) is not True:
        raise Problem(
            status=422,
            title=NOT_VALID,
            field="patch",
            detail=f"{' and '.join(given) or 'nothing'} given",
            expected="just one of patch, rev and delete (true)",
        )
    if "delete" in body:
        return LayerChange(address=where, patch=None)
    if "patch" in body:
        return LayerChange(address=where, patch=checked_patch(body["patch"]))
    found = await room.layers.revision(where, revision(body))
    if found.deleted:
        raise no_revision(where, found.rev)
    return LayerChange(address=where, patch=found.patch)


def _address(layer: str) -> Address:
    """``defaults``, ``group/eu/hamburg``, ``overlay/gpu``, ``node/pi-17``."""
    kind, slash, name = layer.partition("/")
    if kind == "group":
        name = name.replace("~", "/")
    return address(f"{kind}:{name}" if slash else kind)


def _signed(body: dict[str, Any], author: str | None) -> Signed:
    return signed(text(body, "author") or author, text(body, "message"))


def _number(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 9):
        raise Problem(
            status=422,
            title=NOT_VALID,
            field="cursor",
            detail=f"{cursor[:100]!a} is no cursor",
            expected="the value of `next` in the page before",
        )
    return int(cursor)


def _built_in(name: str) -> dict[str, Any]:
    return {"document": name, "rev": None, "built_in": True, "definition": BUILT_IN[name]}


def _accepted(accepted: Accepted) -> Response:
    found = accepted.revision
    body = revision_document(found) | {"changed": accepted.changed, "nodes": accepted.nodes}
    return _json(
        body,
        status=201 if accepted.changed and found.rev == 1 else 200,
        headers={"ETag": etag(found.rev)},
    )


def _json(
    found: dict[str, Any], *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        orjson.dumps(found), status_code=status, media_type="application/json", headers=headers
    )
