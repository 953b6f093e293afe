"""The books of the streams, and what was rejected, over HTTP."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any

import orjson
from farshore_protocol.stream import STREAMS, Book
from fastapi import APIRouter, Query, Response
from sqlalchemy import RowMapping

from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.events.instant import rfc3339
from farshore_center.ingest import store
from farshore_center.ingest.rejected import RejectedList

MAX_LIMIT = 5000


def book_document(row: RowMapping, current: bool) -> dict[str, Any]:
    """A book without the lines of its ledger."""
    book = Book(
        accepted=orjson.loads(row["accepted"]),
        lost=orjson.loads(row["lost"]),
        duplicates=row["duplicates"],
        head=row["head"],
    )
    return {
        "stream": row["stream"],
        "epoch": row["epoch"],
        "accepted": len(book.accepted),
        "duplicates": book.duplicates,
        "head": book.head,
        "holes": book.holes(),
        "lost_records": len(book.lost),
        "current": current,
    }


def current_epochs(rows: Iterable[RowMapping]) -> set[tuple[str, str, str]]:
    """The newest epoch of each stream; rows come with the oldest first."""
    newest = {(row["node"], row["stream"]): row["epoch"] for row in rows}
    return {(node, stream, epoch) for (node, stream), epoch in newest.items()}


def _json(document: Any) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")


def ingest_routes(
    database: Database, rejected: RejectedList, known_node: Callable[[str], Awaitable[bool]]
) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["streams"])

    async def books() -> list[tuple[str, dict[str, Any]]]:
        rows = await database.read(store.all_books)
        current = current_epochs(rows)
        return [
            (
                row["node"],
                book_document(row, (row["node"], row["stream"], row["epoch"]) in current),
            )
            for row in sorted(rows, key=lambda row: (row["node"], STREAMS.index(row["stream"])))
        ]

    @router.get("/nodes/{node}/streams")
    async def node_streams(node: str) -> Response:
        """The books of one node, with every line of its ledger of losses."""
        mine = [book for name, book in await books() if name == node]
        if not mine and not await known_node(node):
            raise Problem(
                status=404, title="No such node", detail=f"there is no node {node[:64]!a}"
            )
        lines = await database.read(lambda connection: store.load_losses(connection, node))
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
        items = [{"node": name, **book} for name, book in await books()]
        keys = [f"{item['node']}/{item['stream']}/{item['epoch']}" for item in items]
        start = keys.index(cursor) + 1 if cursor in keys else 0
        page = items[start : start + limit]
        more = start + limit < len(items)
        return _json({"items": page, "next": keys[start + limit - 1] if more else None})

    @router.get("/rejected")
    async def rejected_list(
        limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    ) -> Response:
        """The last messages that were refused, newest first, with the reason of each."""
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
            for item in rejected.items()[: -limit - 1 : -1]
        ]
        return _json({"items": items, "next": None})

    return router
