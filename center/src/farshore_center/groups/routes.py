"""``/api/v1/groups``, ``/api/v1/overlays`` and ``/api/v1/selectors`` over HTTP."""

from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict

from farshore_center.events.instant import rfc3339
from farshore_center.groups.overlay import Overlay
from farshore_center.groups.rules import etag
from farshore_center.groups.selection import selector_problem
from farshore_center.groups.service import GroupService
from farshore_center.groups.tree import Group
from farshore_center.nodes.registry import Registry
from farshore_center.nodes.tree import counts
from farshore_center.selectors import SelectorError, parse, render

MAX_LIMIT = 1000

IfMatch = Annotated[str | None, Header()]
Parents = Annotated[bool, Query(description="make the groups above it that are missing")]


class GroupBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    description: str | None = None


class MoveBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    to: str


class OverlayBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    selector: str
    priority: int
    description: str = ""


def _json(document: Any, *, status: int = 200, revision: int | None = None) -> Response:
    return Response(
        orjson.dumps(document),
        status_code=status,
        media_type="application/json",
        headers=None if revision is None else {"ETag": etag(revision)},
    )


def group_routes(service: GroupService, registry: Registry) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["groups"])

    def counted() -> dict[str, tuple[int, int]]:
        return counts((entry.group, entry.standing.online) for entry in registry.all())

    def document(group: Group, found: dict[str, tuple[int, int]]) -> dict[str, Any]:
        nodes, online = found.get(group.path, (0, 0))
        return {
            "path": group.path,
            "description": group.description,
            "nodes": nodes,
            "online": online,
            "created_at": rfc3339(group.created_ms),
            "created_by": group.created_by,
            "revision": group.revision,
        }

    def whole(group: Group) -> dict[str, Any]:
        return {**document(group, counted()), "groups": service.tree.children(group.path)}

    @router.get("/groups")
    async def list_groups() -> Response:
        """Every group, a parent before its children, with the counts of its subtree."""
        found = counted()
        items = [document(group, found) for group in service.tree.all()]
        return _json({"items": items, "next": None})

    @router.get("/groups/{path:path}")
    async def get_group(path: str) -> Response:
        """One group, with the groups in it."""
        group = service.group(path)
        return _json(whole(group), revision=group.revision)

    @router.put("/groups/{path:path}", responses={201: {"description": "It was made."}})
    async def put_group(
        path: str,
        body: GroupBody | None = None,
        parents: Parents = False,
        if_match: IfMatch = None,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Makes a group, or changes its description."""
        group, made = await service.put_group(
            path,
            description=None if body is None else body.description,
            parents=parents,
            if_match=if_match,
            new_only=if_none_match == "*",
        )
        return _json(whole(group), status=201 if made else 200, revision=group.revision)

    @router.post("/groups/{path:path}/move")
    async def move_group(
        path: str, body: MoveBody, parents: Parents = False, if_match: IfMatch = None
    ) -> Response:
        """Moves a subtree with its nodes: all of it, or nothing."""
        group, nodes = await service.move_group(path, body.to, parents=parents, if_match=if_match)
        return _json({**whole(group), "moved_nodes": nodes}, revision=group.revision)

    @router.delete("/groups/{path:path}", status_code=204)
    async def delete_group(path: str, if_match: IfMatch = None) -> Response:
        """Deletes a group that holds neither nodes nor groups."""
        await service.delete_group(path, if_match=if_match)
        return Response(status_code=204)

    return router


def overlay_routes(service: GroupService, registry: Registry) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["overlays"])

    @router.get("/overlays")
    async def list_overlays() -> Response:
        """Every overlay by ascending priority."""
        return _json({"items": [_overlay(each) for each in service.overlays()], "next": None})

    @router.get("/overlays/{name}")
    async def get_overlay(name: str) -> Response:
        """One overlay, with the number of nodes that it means now."""
        overlay = service.book.get(name)
        members = await service.members(overlay.selector)
        return _json({**_overlay(overlay), "nodes": len(members)}, revision=overlay.revision)

    @router.put("/overlays/{name}", responses={201: {"description": "It was made."}})
    async def put_overlay(name: str, body: OverlayBody, if_match: IfMatch = None) -> Response:
        """Makes or replaces an overlay."""
        overlay, made = await service.book.put(
            name,
            selector=body.selector,
            priority=body.priority,
            description=body.description,
            if_match=if_match,
        )
        return _json(_overlay(overlay), status=201 if made else 200, revision=overlay.revision)

    @router.delete("/overlays/{name}", status_code=204)
    async def delete_overlay(name: str, if_match: IfMatch = None) -> Response:
        await service.book.delete(name, if_match=if_match)
        return Response(status_code=204)

    @router.get("/overlays/{name}/nodes")
    async def overlay_nodes(
        name: str,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 200,
        cursor: str | None = None,
    ) -> Response:
        """The nodes that the overlay means now, by name."""
        members = await service.members(service.book.get(name).selector)
        names = sorted(each for each in members if cursor is None or each > cursor)
        items = [
            {
                "name": entry.name,
                "group": entry.group,
                "labels": entry.labels,
                "state": "online" if entry.standing.online else "offline",
            }
            for each in names[:limit]
            if (entry := registry.get(each)) is not None
        ]
        return _json({"items": items, "next": names[limit - 1] if len(names) > limit else None})

    @router.get("/selectors/check")
    async def check_selector(
        selector: Annotated[str, Query(description="the selector to look at")],
    ) -> Response:
        """What a selector says, canonically, and how many nodes it means now."""
        try:
            text = render(parse(selector))
        except SelectorError as exc:
            raise selector_problem(exc) from exc
        members = await service.selection.chosen(selector)
        return _json({"selector": text, "matches": len(members)})

    return router


def _overlay(overlay: Overlay) -> dict[str, Any]:
    return {
        "name": overlay.name,
        "selector": overlay.selector,
        "priority": overlay.priority,
        "description": overlay.description,
        "created_at": rfc3339(overlay.created_ms),
        "updated_at": rfc3339(overlay.updated_ms),
        "revision": overlay.revision,
    }
