"""Whether a document is good by its type, quickly: most are, and a JSON Schema takes a hundred times
as long to say so. Pure.

What is not good is said by the schema, which names the place; only where the schema finds nothing
(an integer written as ``1.0``), the type's own words are used.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from farshore_protocol.config.documents import DOCUMENTS
from msgspec import inspect

Known = Callable[[Any], bool]


def _always(_value: Any) -> bool:
    return True


def _known_fields(info: Any) -> Known:
    """Whether a value, of the right type already, has no field that its type does not know."""
    if isinstance(info, inspect.DataclassType):
        below = {field.encode_name: _known_fields(field.type) for field in info.fields}
        names = frozenset(below)
        looked = [(name, known) for name, known in below.items() if known is not _always]

        def fields(value: Any) -> bool:
            return names >= value.keys() and all(
                known(value[name]) for name, known in looked if value.get(name) is not None
            )

        return fields
    if isinstance(info, inspect.DictType):
        each = _known_fields(info.value_type)
        if each is _always:
            return _always
        return lambda value: all(each(below) for below in value.values())
    if isinstance(info, inspect.UnionType):
        kinds = [known for known in map(_known_fields, info.types) if known is not _always]
        # Of a union one member alone has fields: the other is null.
        return kinds[0] if kinds else _always
    return _always


_KNOWN = {name: _known_fields(inspect.type_info(kind)) for name, kind in DOCUMENTS.items()}


def misfit(name: str, document: Any) -> str | None:
    """None for a good document of the agent; else why it is none, in short."""
    try:
        msgspec.convert(document, DOCUMENTS[name])
    except msgspec.ValidationError as exc:
        return str(exc)
    return None if _KNOWN[name](document) else "a field is not known"
