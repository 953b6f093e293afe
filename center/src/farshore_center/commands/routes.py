"""`/api/v1/commands` over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Response

from farshore_center.commands.bodies import (
    CancellationOut,
    CommandBody,
    CommandListOut,
    CommandOut,
)
from farshore_center.commands.request import NewCommand, NodeChoice
from farshore_center.commands.service import CommandService
from farshore_center.commands.views import CommandView
from farshore_center.commands.waiting import MAX_WAIT_S

ResolveNodes = Callable[[NodeChoice], Awaitable[list[str]]]
"""The nodes that a choice means; raises Problem for one that does not exist."""

MAX_LIMIT = 500

WaitS = Annotated[
    float,
    Query(ge=0, le=MAX_WAIT_S, description="answer when the command is done, or after so long"),
]


def command_routes(service: CommandService, resolve_nodes: ResolveNodes) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["commands"])

    @router.post(
        "/commands",
        status_code=201,
        response_model=CommandOut,
        responses={200: {"model": CommandOut, "description": "An earlier request made it."}},
    )
    async def create(
        body: CommandBody,
        idempotency_key: Annotated[
            str | None, Header(description="The same key makes one command, however often sent.")
        ] = None,
        wait_s: WaitS = 0.0,
    ) -> Response:
        """Gives a command to one node, to several, to those that a selector means, or to all."""
        request = NewCommand(
            choice=body.choice(),
            nodes=(),
            verb=body.verb,
            args=body.args,
            ttl_s=body.ttl_s,
            timeout_s=body.timeout_s,
            allow_empty=body.allow_empty,
            secret=body.secret,
        )
        if idempotency_key is not None:
            earlier = await service.find_repeated(request, idempotency_key)
            if earlier is not None:
                return _answer((await _waited(service, earlier, wait_s)).document())
        view = await service.create(
            request.to(await resolve_nodes(request.choice)), idempotency_key
        )
        return _answer(
            (await _waited(service, view, wait_s)).document(),
            status=200 if view.repeated else 201,
            headers={"Location": f"{router.prefix}/commands/{view.id}"},
        )

    @router.get("/commands", response_model=CommandListOut)
    async def list_commands(
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 50,
        cursor: Annotated[str | None, Query(description="`next` of the page before")] = None,
    ) -> Response:
        """Commands, the newest first, without their targets."""
        page = await service.list(limit, cursor)
        return _answer({"items": [view.document() for view in page.items], "next": page.next})

    @router.get("/commands/{command_id}", response_model=CommandOut)
    async def get(command_id: str, wait_s: WaitS = 0.0) -> Response:
        """A command with all its targets."""
        return _answer((await service.get(command_id, wait_s)).document())

    @router.post("/commands/{command_id}/cancel", response_model=CancellationOut)
    async def cancel(command_id: str) -> Response:
        """Cancels what was not sent yet, and asks the nodes to end what was; 409 when all has ended."""
        return _answer((await service.cancel(command_id)).document())

    return router


async def _waited(service: CommandService, view: CommandView, wait_s: float) -> CommandView:
    """The command as it was made, or as it is when somebody waited for it."""
    return view if view.done or not wait_s else await service.get(view.id, wait_s)


def _answer(
    document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        orjson.dumps(document), status_code=status, media_type="application/json", headers=headers
    )
