"""`GET /api/v1/events`: the latest events as JSON, or all that follow as server-sent events."""

from typing import Annotated

import orjson
from fastapi import APIRouter, Header, Query, Response

from farshore_center.api.problems import Problem
from farshore_center.events.select import KIND_EXPECTED, EventFilter, is_kind_pattern
from farshore_center.events.service import EventLog
from farshore_center.events.stream import HEARTBEAT_S, EventStreamResponse, stream

MAX_LIMIT = 1000
_MAX_ID = 2**63 - 1

_NOT_VALID = "The request is not valid"


def event_routes(log: EventLog, heartbeat_s: float = HEARTBEAT_S) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["events"])

    @router.get(
        "/events",
        response_class=Response,
        responses={
            200: {
                "description": "The latest events, or the stream of events that follow.",
                "content": {"application/json": {}, "text/event-stream": {}},
            }
        },
    )
    async def events(
        node: str | None = None,
        kind: Annotated[str | None, Query(description=KIND_EXPECTED)] = None,
        command: str | None = None,
        job: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="of JSON alone")] = 100,
        after: Annotated[int | None, Query(ge=0, le=_MAX_ID, description="an event's id")] = None,
        accept: Annotated[str, Header(include_in_schema=False)] = "",
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> Response:
        """With `Accept: text/event-stream` the stream, resumed behind `Last-Event-ID` or `after`."""
        if kind is not None and not is_kind_pattern(kind):
            raise Problem(
                status=422,
                title=_NOT_VALID,
                field="kind",
                detail=f"{kind!r} is no kind of event",
                expected=KIND_EXPECTED,
            )
        wanted = EventFilter(node=node, kind=kind, command=command, job=job)
        if "text/event-stream" in accept.lower():
            if log.closed:
                raise Problem(status=503, title="The center is stopping")
            # The header is newer than the address: a browser that reconnects repeats the address.
            begin = after if last_event_id is None else _parsed(last_event_id)
            return EventStreamResponse(stream(log, wanted, begin, heartbeat_s))
        if after is not None:
            items = list((await log.page(wanted, after, limit)).items)
        else:
            items = await log.list(node, kind, command, limit, job)
        body = {"items": [event.document() for event in items], "next": None}
        return Response(orjson.dumps(body), media_type="application/json")

    return router


def _parsed(last_event_id: str) -> int | None:
    if last_event_id == "":
        return None
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 18):
        raise Problem(
            status=422,
            title=_NOT_VALID,
            field="Last-Event-ID",
            detail=f"{last_event_id!r} is no id of an event",
            expected="the id of the last event that was received",
        )
    return int(last_event_id)
