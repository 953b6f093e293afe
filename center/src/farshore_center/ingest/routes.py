"""The books of the streams, and what was rejected, over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import orjson
from farshore_protocol.stream import STREAMS
from fastapi import APIRouter, Query, Response
from sqlalchemy import RowMapping

from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.events.instant import rfc3339
from farshore_center.ingest import store
from farshore_center.ingest.engine import Key
from farshore_center.ingest.rejected import RejectedList

MAX_LIMIT = 5000


def book_document(row: RowMapping) -> dict[str, Any]:
    """A book without the lines of its ledger."""
    book = store.book_of(row)
    return {
        "stream": row["stream"],
        "epoch": row["epoch"],
        "accepted": len(book.accepted),
        "duplicates": book.duplicates,
        "head": book.head,
        "holes": book.holes(),
        "lost_records": len(book.lost),
        "current": bool(row["current"]),
    }


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


def _read_cursor(cursor: str) -> Key:
    # An epoch is any text, so it comes last and may hold a slash.
    node, _, rest = cursor.partition("/")
    stream, _, epoch = rest.partition("/")
    if stream not in STREAMS or not epoch:
        raise Problem(
            status=422,
            title="The request is not valid",
            field="cursor",
            detail=f"{cursor[:100]!a} is no cursor",
            expected="the value of `next` in the page before",
        )
    return node, stream, epoch


def ingest_routes(
    database: Database, rejected: RejectedList, known_node: Callable[[str], Awaitable[bool]]
) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["streams"])

    @router.get("/nodes/{node}/streams")
    async def node_streams(node: str) -> Response:
        """The books of one node, with every line of its ledger of losses."""
        rows, lines = await database.read(
            lambda connection: (
                store.books_of(connection, node),
                store.load_losses(connection, node),
            )
        )
        if not rows and not await known_node(node):
            raise Problem(
                status=404, title="No such node", detail=f"there is no node {node[:64]!a}"
            )
        rows.sort(key=lambda row: STREAMS.index(row["stream"]))
        mine = [book_document(row) for row in rows]
        for book in mine:
            book["lost"] = [
                {
                    "range": [line["first"], line["last"]],
                    "reason": line["reason"],
                    "at": rfc3339(line["at_ms"]),
                }
                for line in lines
                if (line["stream"], line["epoch"]) == (book["stream"], book["epoch"])
            ]
        return _json({"items": mine, "next": None})

    @router.get("/streams")
    async def streams(
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = 1000, cursor: str | None = None
    ) -> Response:
        """The books of all nodes, without the ledger's lines."""
        after = None if cursor is None else _read_cursor(cursor)
        rows = await database.read(
            lambda connection: store.books_after(connection, after, limit + 1)
        )
        page = rows[:limit]
        items = [{"node": row["node"], **book_document(row)} for row in page]
        last = page[-1] if len(rows) > limit else None
        following = None if last is None else f"{last['node']}/{last['stream']}/{last['epoch']}"
        return _json({"items": items, "next": following})

    @router.get("/rejected")
    async def rejected_list(
        limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
        cursor: Annotated[int | None, Query(ge=1)] = None,
    ) -> Response:
        """The last messages that were refused, newest first, with the reason of each."""
        found = [
            item for item in reversed(rejected.items()) if cursor is None or item.number < cursor
        ]
        page = found[:limit]
        items = [
            {
                "at": rfc3339(item.at_ms),
                "node": item.node,
                "client_id": item.client_id,
                "topic": item.topic,
                "reason": item.reason,
                "detail": item.detail,
                "payload_bytes": item.payload_bytes,
                "payload_start": item.payload_start,
            }
            for item in page
        ]
        more = str(page[-1].number) if len(found) > limit else None
        return _json({"items": items, "next": more})

    return router
