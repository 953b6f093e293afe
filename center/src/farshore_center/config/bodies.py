"""Bodies of requests: read with a bound, by a reader that takes no NaN, and looked at by hand.

A patch may hold anything, so what is wrong with it must be said by its own checks, not by a model.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.names import is_name
from fastapi import Request

from farshore_center.api.problems import Problem
from farshore_center.config.address import Address, parse
from farshore_center.config.checks import APP
from farshore_center.config.request import NOT_VALID

MAX_BODY_BYTES = 1024 * 1024


async def read_body(request: Request, *keys: str) -> dict[str, Any]:
    """The body as an object with no other keys than these."""
    body = await read_object(request)
    for key in body:
        if key not in keys:
            raise Problem(
                status=422,
                title=NOT_VALID,
                field=key[:100],
                detail="there is no such field",
                expected=f"one of {', '.join(keys)}",
            )
    return body


async def read_object(request: Request) -> dict[str, Any]:
    """The body as an object; what it holds is for the caller to check."""
    try:
        # Not orjson: it makes a float of an integer beyond 64 bits, and says nothing.
        body = msgspec.json.decode(await _bytes(request))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Problem(
            status=422, title=NOT_VALID, field="body", detail=str(exc)[:200], expected="JSON"
        ) from exc
    if not isinstance(body, dict):
        raise Problem(
            status=422,
            title=NOT_VALID,
            field="body",
            detail=f"got {type(body).__name__}",
            expected="an object",
        )
    return body


async def _bytes(request: Request) -> bytes:
    """What is too large is refused before it is all here."""
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > MAX_BODY_BYTES:
            raise Problem(
                status=413,
                title="The request is too large",
                field="body",
                detail=f"more than {MAX_BODY_BYTES} bytes",
                expected=f"{MAX_BODY_BYTES} bytes or fewer",
            )
    return bytes(found)


def text(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise _wrong(key, value, "a string")
    return value


def revision(body: Mapping[str, Any]) -> int:
    value = body.get("rev")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value < 2**31:
        raise _wrong("rev", value, "the number of a revision")
    return value


def address(layer: str, field: str = "layer") -> Address:
    try:
        return parse(layer)
    except RemoteProtocolError as exc:
        raise Problem(status=422, title=NOT_VALID, field=field, detail=exc.detail) from exc


def document(name: str) -> str:
    """The name of a document: a key of the first level, or ``app/NAME``."""
    own = name.removeprefix(APP)
    if not is_name(own) or (own == name and "/" in name):
        raise Problem(
            status=422,
            title=NOT_VALID,
            field="document",
            detail=f"{name[:100]!a} is no document",
            expected="a key of the configuration's first level, or app/NAME",
        )
    return name


def _wrong(key: str, value: Any, expected: str) -> Problem:
    detail = "it is missing" if value is None else f"got {str(value)[:60]!a}"
    return Problem(status=422, title=NOT_VALID, field=key, detail=detail, expected=expected)
