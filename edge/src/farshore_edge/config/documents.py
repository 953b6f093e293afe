"""Checks an effective configuration against the types of its documents. Pure.

Unknown fields inside a document are an error here too: a typing error must not pass in silence.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args, get_origin

import msgspec
import msgspec.inspect
from farshore_protocol.config.pointer import pointer, step

from farshore_edge.errors import ConfigurationError

_AT = re.compile(r" - at `(key in )?\$(?P<steps>[^`]*)`$")


def converted(document: str, kind: Any, value: Any) -> Any:
    """The document as its type. Raises ConfigurationError, which points at what is wrong."""
    arguments = get_args(kind)
    if get_origin(kind) is not dict:
        return _converted(kind, value, step(document))
    if not isinstance(value, Mapping):
        raise ConfigurationError(
            "bad_document", f"{document}: expected an object with an entry by name", step(document)
        )
    name_kind, entry_kind = arguments
    entries = {}
    for name, entry in value.items():
        at = pointer((document, name))
        _converted(name_kind, name, at)
        entries[name] = _converted(entry_kind, entry, at)
    return entries


def _converted(kind: Any, value: Any, at: str) -> Any:
    foreign = _unknown(_type_of(kind), value)
    if foreign is not None:
        raise ConfigurationError(
            "unknown_field", f"unknown field {foreign.rpartition('/')[2]!r}", at + foreign
        )
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as exc:
        found = _AT.search(str(exc))
        below = "" if found is None else _pointed(found["steps"])
        message = str(exc) if found is None else str(exc)[: found.start()]
        raise ConfigurationError("bad_document", message, at + below) from exc


def _pointed(steps: str) -> str:
    """``.a.b[0]`` as a pointer; an entry whose name msgspec leaves out ends it."""
    return "".join(step(word) for word in re.findall(r"[^.\[\]]+", steps.partition("[...]")[0]))


@cache
def _type_of(kind: Any) -> msgspec.inspect.Type:
    return msgspec.inspect.type_info(kind)


def _unknown(kind: msgspec.inspect.Type, value: Any) -> str | None:
    """A pointer to the first field that the type does not have."""
    if isinstance(kind, msgspec.inspect.Metadata):
        return _unknown(kind.type, value)
    if isinstance(kind, msgspec.inspect.UnionType):
        answers = [_unknown(each, value) for each in kind.types if _holds_fields(each)]
        return next(iter(answers), None)
    if not isinstance(value, Mapping):
        return None
    if isinstance(kind, msgspec.inspect.DataclassType):
        known = {field.encode_name: field.type for field in kind.fields}
        for name, part in value.items():
            below = _unknown(known[name], part) if name in known else ""
            if below is not None:
                return step(name) + below
    return None


def _holds_fields(kind: msgspec.inspect.Type) -> bool:
    return isinstance(kind, msgspec.inspect.DataclassType)
