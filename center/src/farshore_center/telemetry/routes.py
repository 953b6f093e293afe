"""`GET /api/v1/nodes/{node}/telemetry`: the history of a node over HTTP."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import orjson
from fastapi import APIRouter, Query, Response

from farshore_center.api.problems import Problem
from farshore_center.telemetry.errors import TooManyPointsError
from farshore_center.telemetry.question import (
    SERIES_EXPECTED,
    STEP_EXPECTED,
    TIME_EXPECTED,
    parse_step,
    parse_time,
    split_series,
)
from farshore_center.telemetry.resample import AGGREGATES, Aggregate
from farshore_center.telemetry.service import TelemetryHistory

T = TypeVar("T")

_NOT_UNDERSTOOD = "The question could not be understood"


def telemetry_routes(
    history: TelemetryHistory,
    known_node: Callable[[str], Awaitable[bool]],
    now_ms: Callable[[], int],
) -> APIRouter:
    router = APIRouter(prefix="/api/v1", tags=["telemetry"])

    @router.get("/nodes/{node}/telemetry")
    async def node_telemetry(
        node: str,
        series: Annotated[list[str] | None, Query(description=SERIES_EXPECTED)] = None,
        start: Annotated[str, Query(alias="from", description=TIME_EXPECTED)] = "-1h",
        to: Annotated[str, Query(description=TIME_EXPECTED)] = "now",
        step: Annotated[str | None, Query(description=STEP_EXPECTED)] = None,
        how: Annotated[
            str | None, Query(alias="aggregate", description="mean, min, max or last")
        ] = None,
    ) -> Response:
        """Samples with from <= t < to; without a step as they were measured."""
        now = now_ms()
        wanted = _read("series", SERIES_EXPECTED, lambda: split_series(series or []))
        from_ms = _read("from", TIME_EXPECTED, lambda: parse_time(start, now))
        to_ms = _read("to", TIME_EXPECTED, lambda: parse_time(to, now))
        if from_ms >= to_ms:
            raise Problem(
                status=422,
                title=_NOT_UNDERSTOOD,
                field="from",
                detail=f"'from' ({start}) is not before 'to' ({to})",
                expected="a time before 'to'",
            )
        step_ms = _read("step", STEP_EXPECTED, lambda: parse_step(step)) if step else None
        aggregate = _read_aggregate(how) if how else None
        if not await known_node(node):
            raise Problem(
                status=404,
                title="No such node",
                field="node",
                detail=f"there is no node {node!r}",
                expected="the name of a node in GET /api/v1/nodes",
            )
        try:
            answer = await history.query(node, wanted, from_ms, to_ms, step_ms, aggregate)
        except TooManyPointsError as exc:
            raise _too_many(exc, to_ms - from_ms) from exc
        return Response(orjson.dumps({"series": answer}), media_type="application/json")

    return router


def _read(field: str, expected: str, parse: Callable[[], T]) -> T:
    try:
        return parse()
    except ValueError as exc:
        raise Problem(
            status=422, title=_NOT_UNDERSTOOD, field=field, detail=str(exc), expected=expected
        ) from exc


def _read_aggregate(text: str) -> Aggregate:
    for aggregate in AGGREGATES:
        if text == aggregate:
            return aggregate
    raise Problem(
        status=422,
        title=_NOT_UNDERSTOOD,
        field="aggregate",
        detail=f"{text!r} is no way to aggregate",
        expected=", ".join(AGGREGATES),
    )


def _too_many(exc: TooManyPointsError, span_ms: int) -> Problem:
    # A step that would give one series about a thousand points: enough for any chart.
    step_s = max(1, span_ms // 1_000_000)
    return Problem(
        status=422,
        title="Too many points",
        field="step",
        detail=f"the answer would cover more than {exc.limit} points",
        expected=f"a step such as {step_s}s or longer, fewer series, or a shorter time",
    )
