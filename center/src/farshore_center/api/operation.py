"""``/healthz``, ``/readyz``, ``/metrics``: for supervisors and Prometheus."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from fastapi import APIRouter, Response

from farshore_center.api.metrics import Readings, exposition


def operation_routes(
    checks: Callable[[], Mapping[str, bool]],
    readings: Readings,
    reasons: Callable[[], Mapping[str, str]] = dict,
) -> APIRouter:
    """``checks``: what must hold for the center to be ready, by name; ``reasons``: why not."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    async def readyz() -> Response:
        """Every part works; 503 names those that do not, and why where that is known."""
        states = dict(checks())
        ready = all(states.values())
        body: dict[str, Any] = {"status": "ready" if ready else "not ready", "checks": states}
        if not ready:
            body["reasons"] = dict(reasons())
        return Response(
            orjson.dumps(body),
            status_code=200 if ready else 503,
            media_type="application/json",
        )

    @router.get("/metrics")
    async def metrics() -> Response:
        text, content_type = exposition(readings)
        return Response(text, headers={"Content-Type": content_type})

    return router
