"""``/api/v1/nodes`` over HTTP."""

from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Annotated, Any, Literal, Protocol

import orjson
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.names import check_name, check_tree_group
from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.db.errors import DatabaseError
from farshore_center.events.model import Draft, Event
from farshore_center.groups.rules import check_known
from farshore_center.nodes import store
from farshore_center.nodes.choice import known
from farshore_center.nodes.registry import NodeEntry
from farshore_center.nodes.service import NodeService
from farshore_center.nodes.views import SHOWN_SERIES, etag, node_document
from farshore_center.telemetry import store as telemetry_store
from farshore_center.telemetry.service import TelemetryHistory

MAX_LIMIT = 1000

Choose = Callable[[str], Awaitable[frozenset[str]]]
"""The nodes that a selector means; raises Problem for a bad one."""

_OF_PEOPLE = ("group", "group_by", "labels", "labels_by", "revision")
"""What a refused write gives back."""


class NodePatch(BaseModel):
    """What a person may change of a node."""

    model_config = ConfigDict(extra="forbid")

    group: str | None = None
    labels: dict[str, str] | None = None


def _json(document: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(document), status_code=status, media_type="application/json", headers=headers
    )


def _select(
    entries: list[NodeEntry],
    state: str | None,
    group: str | None,
    cursor: str | None,
    chosen: Container[str] | None,
) -> list[NodeEntry]:
    return [
        entry
        for entry in entries
        if (state is None or entry.standing.online == (state == "online"))
        and (not group or entry.group == group or entry.group.startswith(group + "/"))
        and (cursor is None or entry.name > cursor)
        and (chosen is None or entry.name in chosen)
    ]


class Commands(Protocol):
    """What becomes of a node's commands when it is removed: the events of those that end so."""

    def forget(self, conn: Connection, node: str, /) -> list[Draft]: ...


class Configs(Protocol):
    """What is shown of nodes' configurations, and what becomes of one when its node is removed."""

    async def documents(self, nodes: Sequence[str], /) -> dict[str, dict[str, Any]]: ...

    def forget(self, conn: Connection, node: str, /) -> None: ...


class Tasks(Protocol):
    """Whether a node takes no new tasks because a person wants it so, and what becomes of its tasks when
    it is removed: ``forget`` in the transaction, ``forgotten`` after its commit."""

    def is_drained(self, node: str, /) -> bool: ...

    def forget(self, conn: Connection, node: str, /) -> None: ...

    def forgotten(self, node: str, /) -> None: ...


def node_routes(
    service: NodeService,
    database: Database,
    history: TelemetryHistory,
    choose: Choose,
    configs: Configs,
    commands: Commands,
    tasks: Tasks,
) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["nodes"])
    registry = service.registry

    async def documents(entries: list[NodeEntry], with_facts: bool) -> list[dict[str, Any]]:
        names = [entry.name for entry in entries]
        latest = await history.latest(names, SHOWN_SERIES)
        config = await configs.documents(names)
        facts = (
            await database.read(lambda connection: store.facts_of(connection, names))
            if with_facts
            else {}
        )
        return [
            node_document(
                entry,
                facts=facts.get(entry.name),
                latest=latest.get(entry.name, {}),
                config=config[entry.name],
                drained=tasks.is_drained(entry.name),
            )
            for entry in entries
        ]

    @router.get("/nodes")
    async def list_nodes(
        state: Literal["online", "offline"] | None = None,
        group: Annotated[str | None, Query(description="a group and everything below it")] = None,
        selector: Annotated[str | None, Query(description="only the nodes that it means")] = None,
        facts: bool = False,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 200,
        cursor: str | None = None,
    ) -> Response:
        """The nodes by name."""
        chosen = None if selector is None else await choose(selector)
        found = _select(registry.all(), state, group, cursor, chosen)
        page = found[:limit]
        more = page[-1].name if len(found) > limit else None
        return _json({"items": await documents(page, facts), "next": more})

    @router.get("/nodes/{node}")
    async def get_node(node: str) -> Response:
        """One node with its facts."""
        entry = known(registry, node)
        (document,) = await documents([entry], True)
        return _json(document, headers={"ETag": etag(entry)})

    @router.patch("/nodes/{node}")
    async def patch_node(
        node: str,
        patch: NodePatch,
        parents: Annotated[bool, Query(description="make a group that does not exist")] = False,
        if_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """Moves a node to another group, or replaces its labels."""
        entry = known(registry, node)
        _check_match(entry, if_match)
        _check_patch(patch)
        if patch.group is not None:
            if not parents:
                remedy = "a group that exists; parents=true (--parents) makes it"
                check_known(service.tree, patch.group, field="group", remedy=remedy)
            service.tree.grow(patch.group, service.now_ms(), "person")
        before = {name: getattr(entry, name) for name in _OF_PEOPLE}
        # No await stands between the check and the change.
        if patch.group is not None:
            entry.group, entry.group_by = patch.group, "person"
        if patch.labels is not None:
            entry.labels, entry.labels_by = dict(patch.labels), "person"
        entry.revision += 1
        mine = entry.revision
        data = patch.model_dump(exclude_none=True)
        try:
            await service.write(entry, [Draft(kind="node.changed", node=node, data=data)])
        except DatabaseError:
            if entry.revision == mine:
                for name, value in before.items():
                    setattr(entry, name, value)
            raise
        service.changed(frozenset({node}))
        return await get_node(node)

    @router.delete("/nodes/{node}", status_code=204)
    async def delete_node(node: str, if_match: Annotated[str | None, Header()] = None) -> Response:
        """Forgets a node that is offline, with its telemetry; the books of its streams stay, and what it
        was commanded and has not ended is ended."""
        entry = known(registry, node)
        _check_match(entry, if_match)
        if entry.standing.online:
            raise Problem(
                status=409,
                title="The node is online",
                detail=f"{node} would register again at once; stop its agent first",
            )
        registry.remove(node)
        history.forget(node)

        def work(connection: Connection) -> list[Event]:
            store.remove(connection, node)
            telemetry_store.delete_node(connection, node)
            configs.forget(connection, node)
            tasks.forget(connection, node)
            drafts = [Draft(kind="node.deleted", node=node), *commands.forget(connection, node)]
            return service.events.append(connection, drafts)

        try:
            service.events.announce(await database.write(work))
        except DatabaseError:
            registry.put_back(entry)
            raise
        tasks.forgotten(node)
        return Response(status_code=204)

    return router


def _check_match(entry: NodeEntry, if_match: str | None) -> None:
    if if_match is not None and if_match not in ("*", etag(entry)):
        raise Problem(
            status=412,
            title="The node was changed meanwhile",
            field="If-Match",
            detail=f"{entry.name} is at {etag(entry)}, the request was made for {if_match}",
            expected="the ETag of a new GET",
        )


def _check_patch(patch: NodePatch) -> None:
    field = "group"
    try:
        if patch.group is not None:
            check_tree_group(patch.group)
        for name, text in (patch.labels or {}).items():
            field = f"labels.{name[:64]}"
            check_name(name, "label")
            if len(text) > 256:
                raise Problem(
                    status=422,
                    title="The request is not valid",
                    field=field,
                    detail=f"{len(text)} characters",
                    expected="256 or fewer",
                )
    except RemoteProtocolError as exc:
        raise Problem(
            status=422, title="The request is not valid", field=field, detail=exc.detail
        ) from exc
