"""Errors of the HTTP API as problem details (RFC 9457), with the field that is to blame.

Every error of the API has this shape, FastAPI's own included. What is unexpected is answered
with a 500 that says nothing of the inside; the log has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from farshore_center.db.errors import DatabaseError
from farshore_center.errors import CenterError

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One field that is to blame; `expected` is empty when there is nothing better to say."""

    field: str
    detail: str
    expected: str = ""


class Problem(CenterError):
    """Raise it in a route: it becomes the answer.

    `field`, `detail` and `expected` describe the one field that is to blame; for several, give
    `errors` instead. `extra` members appear beside the standard ones.
    """

    def __init__(
        self,
        *,
        status: int,
        title: str,
        detail: str = "",
        field: str | None = None,
        expected: str = "",
        type: str = "about:blank",
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{title}: {detail}" if detail else title)
        self.status = status
        self.title = title
        self.detail = detail
        self.type = type
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})
        self.errors = list(errors)
        if field is not None:
            self.errors.insert(0, FieldError(field=field, detail=detail, expected=expected))

    def body(self, instance: str) -> dict[str, Any]:
        return self.extra | {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
            "errors": [asdict(error) for error in self.errors],
        }


def install(app: FastAPI) -> None:
    """Makes every error of `app` a problem document."""
    app.add_exception_handler(Problem, _answer_problem)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(DatabaseError, _answer_database)
    app.add_exception_handler(Exception, _answer_unexpected)


async def _answer_problem(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, Problem):
        raise exc
    return _response(request, exc)


async def _answer_validation(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, RequestValidationError):
        raise exc
    errors = [
        FieldError(
            field=_field(error["loc"]),
            detail=error["msg"].removeprefix("Value error, "),
            expected=_expected(error.get("ctx")),
        )
        for error in exc.errors()
    ]
    detail = "; ".join(f"{error.field}: {error.detail}" for error in errors)
    return _response(
        request,
        Problem(status=422, title="The request is not valid", detail=detail, errors=errors),
    )


async def _answer_http(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    phrase = _phrase(exc.status_code)
    detail = "" if exc.detail == phrase else str(exc.detail)
    if exc.status_code == HTTPStatus.NOT_FOUND and not detail:
        detail = "nothing is at this address; all calls: /api/v1/openapi.json"
    return _response(
        request,
        Problem(status=exc.status_code, title=phrase, detail=detail, headers=exc.headers),
    )


async def _answer_database(request: Request, exc: Exception) -> Response:
    log.error(
        "request failed in the database",
        method=request.method,
        path=request.url.path,
        error=str(exc),
    )
    detail = "the database can't do it now, and nothing was changed; the center's log says why"
    return _response(request, Problem(status=503, title=_phrase(503), detail=detail))


async def _answer_unexpected(request: Request, exc: Exception) -> Response:
    log.error(
        "request failed unexpectedly",
        method=request.method,
        path=request.url.path,
        exc_info=exc,
    )
    return _response(
        request,
        Problem(
            status=500,
            title=_phrase(500),
            detail="the center failed to answer; its log says why",
        ),
    )


def _response(request: Request, problem: Problem) -> Response:
    return Response(
        orjson.dumps(problem.body(request.url.path)),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers,
    )


def _field(location: Sequence[int | str]) -> str:
    # FastAPI puts where the value came from first: query, path, header, body.
    parts = [str(part) for part in location]
    return ".".join(parts[1:] or parts)


def _expected(context: Mapping[str, Any] | None) -> str:
    """The bounds that pydantic checked against, such as ``at least 1``."""
    bounds = {key: value for key, value in (context or {}).items() if key != "error"}
    if set(bounds) == {"expected"}:
        return str(bounds["expected"])
    return ", ".join(f"{_BOUNDS.get(key, key)} {_short(value)}" for key, value in bounds.items())


_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def _short(bound: Any) -> str:
    return str(int(bound)) if isinstance(bound, float) and bound.is_integer() else str(bound)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
