"""The catalogue of verbs over HTTP, which of them a node has, and the AsyncAPI document."""

from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Protocol

import orjson
from farshore_protocol.asyncapi import document
from farshore_protocol.commands import VERBS
from farshore_protocol.commands.schema import catalogue_digest, verb_document
from fastapi import APIRouter, Response

from farshore_center.api.problems import Problem
from farshore_center.commands.request import near_verbs


class Fleet(Protocol):
    """What nodes have announced."""

    def verbs_of(self, node: str, /) -> frozenset[str] | None: ...

    def everywhere(self) -> frozenset[str]: ...

    def counts(self) -> dict[str, int]: ...

    def digest_of(self, node: str, /) -> str | None: ...


KnowsNode = Callable[[str], Awaitable[bool]]

_UNKNOWN: dict[str, Any] = dict.fromkeys(set(verb_document(VERBS["ping"])) - {"name"})
"""Of a verb that a node has announced and this center's catalogue does not hold."""


def verb_routes(fleet: Fleet, knows_node: KnowsNode) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["verbs"])

    def shown(name: str, counts: dict[str, int]) -> dict[str, Any]:
        known = {**verb_document(VERBS[name])} if name in VERBS else {"name": name, **_UNKNOWN}
        return {**known, "known": name in VERBS, "nodes": counts.get(name, 0)}

    @router.get("/verbs")
    async def list_verbs() -> Response:
        """The catalogue, and what nodes have announced beyond it; each with how many nodes have it."""
        counts = fleet.counts()
        names = sorted({*VERBS, *counts})
        return _json({"items": [shown(name, counts) for name in names], "next": None})

    @router.get("/verbs/{verb}")
    async def get_verb(verb: str) -> Response:
        """One verb, with the JSON Schemas of its arguments and its result."""
        counts = fleet.counts()
        if verb not in VERBS and verb not in counts:
            near = near_verbs(verb, {*VERBS, *counts})
            raise Problem(
                status=404,
                title="No such verb",
                field="verb",
                detail=f"there is no verb {verb[:64]!a}{near}",
            )
        return _json(shown(verb, counts))

    @router.get("/nodes/{node}/verbs")
    async def node_verbs(node: str) -> Response:
        """The verbs that a node has announced. `same`: whether they are those of this center's catalogue,
        arguments and all; null where the node does not say."""
        if not await knows_node(node):
            raise Problem(
                status=404,
                title="No such node",
                detail=f"there is no node {node[:64]!a}",
                field="node",
            )
        names = sorted(fleet.verbs_of(node) or ())
        counts = fleet.counts()
        said = fleet.digest_of(node)
        same = None if said is None else said == catalogue_digest(names)
        items = [shown(name, counts) for name in names]
        return _json({"items": items, "next": None, "digest": said, "same": same})

    @router.get("/asyncapi.json")
    async def asyncapi() -> Response:
        """Topics, messages and verbs, as an AsyncAPI 3.0 document."""
        return Response(_asyncapi(), media_type="application/vnd.aai.asyncapi+json;version=3.0.0")

    return router


@cache
def _asyncapi() -> bytes:
    return orjson.dumps(document())


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
