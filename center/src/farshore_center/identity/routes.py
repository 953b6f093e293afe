"""``/api/v1/center``: who this center is, whether it was restored, and going on after that."""

import orjson
from fastapi import APIRouter, Response

from farshore_center.identity.service import IdentityService


def identity_routes(identity: IdentityService) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["center"])

    @router.get("/center")
    async def center() -> Response:
        """The database's name, this start, and what is known of a restore."""
        return _json(await identity.document())

    @router.post("/center/resume")
    async def resume() -> Response:
        """Held commands go on, and the state is ``normal`` again; without a restore, nothing."""
        released = await identity.resume()
        return _json({**await identity.document(), "released_commands": released})

    return router


def _json(document: object) -> Response:
    return Response(orjson.dumps(document), media_type="application/json")
