"""`GET /api/v1/nodes/{node}/logs`: a log of a node, live, as server-sent events."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Response

from farshore_center.api.problems import Problem
from farshore_center.events.stream import EventStreamResponse
from farshore_center.logs.service import Log, LogService

MAX_LINES = 1000


def log_routes(service: LogService, known_node: Callable[[str], Awaitable[bool]]) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["logs"])

    @router.get(
        "/nodes/{node}/logs",
        response_class=Response,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def logs(
        node: str,
        unit: Annotated[str | None, Query(description="of the systemd journal")] = None,
        path: Annotated[str | None, Query(description="of a log file")] = None,
        lines: Annotated[int, Query(ge=0, le=MAX_LINES, description="the last so many")] = 100,
        since: Annotated[str | None, Query(description="of a unit, as journalctl takes it")] = None,
        grep: Annotated[str | None, Query(description="only lines that hold it")] = None,
    ) -> Response:
        """The last lines, and then those that come, for as long as the connection stands."""
        if not await known_node(node):
            raise Problem(
                status=404, title="No such node", detail=f"there is no node {node[:64]!a}"
            )
        if (unit is None) == (path is None):
            raise Problem(
                status=422,
                title="The request is not valid",
                field="unit",
                detail="which log?",
                expected="exactly one of unit (of the journal) and path (of a file)",
            )
        log = Log(node=node, unit=unit, path=path, lines=lines, since=since, grep=grep)
        return EventStreamResponse(_stream(*await service.follow(log)))

    return router


async def _stream(
    start: dict[str, Any], documents: AsyncGenerator[dict[str, Any] | None, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(documents):
        yield _server_sent(start)
        async for document in documents:
            yield b": still here\n\n" if document is None else _server_sent(document)


def _server_sent(document: dict[str, Any]) -> bytes:
    # orjson writes no line ends, so the data is one line.
    return b"event: %s\ndata: %s\n\n" % (document["kind"].encode(), orjson.dumps(document))
