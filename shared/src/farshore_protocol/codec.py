"""Bytes to messages and back: msgspec validates while it decodes, orjson encodes.

Unknown fields are ignored (an older side must understand a newer one). A decoding error names the
field by its path.
"""

from collections.abc import Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
import msgspec.inspect
import orjson

from farshore_protocol.errors import LocalProtocolError, MessageError

T = TypeVar("T")

MAX_MESSAGE_BYTES = 100 * 1024
"""No message is larger, in either direction."""


@cache
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


@cache
def _free_form(kind: Hashable) -> bool:
    """Whether a field takes any JSON. There alone can be what orjson can't write again, and what
    so can't be stored or answered: integers beyond 64 bits, nesting deeper than 254."""
    return "AnyType" in repr(msgspec.inspect.type_info(kind))


def decode(kind: type[T], payload: bytes, *, limit_bytes: int = MAX_MESSAGE_BYTES) -> T:
    """``payload`` as a message of this ``kind``; what comes out can be encoded again.

    Raises MessageError: ``too_large``, ``bad_json`` (no JSON at all) or ``bad_message`` (JSON of
    another shape; the detail names the field).
    """
    if len(payload) > limit_bytes:
        raise MessageError("too_large", f"{len(payload)} bytes, expected {limit_bytes} or fewer")
    try:
        message: T = _decoder(cast(Hashable, kind)).decode(payload)
    except msgspec.ValidationError as exc:
        raise MessageError("bad_message", f"{kind.__name__}: {exc}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise MessageError("bad_json", f"{kind.__name__}: {exc}") from exc
    if _free_form(cast(Hashable, kind)):
        try:
            orjson.dumps(message)
        except orjson.JSONEncodeError as exc:
            raise MessageError("bad_message", f"{kind.__name__}: {exc}") from exc
    return message


def convert(kind: type[T], value: Any) -> T:
    """An already decoded JSON ``value`` as a message of this ``kind``; errors as in ``decode``."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        raise MessageError("bad_message", f"{kind.__name__}: {exc}") from exc


def encode(message: Any) -> bytes:
    """A dataclass or plain JSON value as compact JSON bytes."""
    try:
        return orjson.dumps(message)
    except (TypeError, ValueError) as exc:
        raise LocalProtocolError(f"can't be encoded as JSON: {exc}") from exc
