"""The keywords of JSON Schema that search with a pattern, by RE2 in place of Python's engine. Pure.

RE2 takes a time that grows with the text alone, whatever the pattern, so a schema that a person
stores can't make a check run for ever.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import re2

from farshore_center.errors import CenterError

PATTERN_BYTES = 1 << 20
"""Of memory for one pattern: repetitions are counted out."""


class PatternError(CenterError):
    """A pattern that RE2 can't read."""


@functools.lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """Raises PatternError."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = PATTERN_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as exc:
        said = exc.args[0] if exc.args else ""
        why = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise PatternError(why) from exc


def _found(pattern: str, text: str) -> bool:
    return compiled(pattern).search(text) is not None


def _pattern(validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[Any]:
    if validator.is_type(instance, "string") and not _found(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, _schema: Any
) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    for pattern, below in patterns.items():
        for key, value in instance.items():
            if _found(pattern, key):
                yield from validator.descend(value, below, path=key, schema_path=pattern)


def _additional_properties(
    validator: Any, allowed: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    if not validator.is_type(instance, "object"):
        return
    left = strangers(instance, schema)
    if validator.is_type(allowed, "object"):
        for key in left:
            yield from validator.descend(instance[key], allowed, path=key)
    elif allowed is False and left:
        yield jsonschema.ValidationError(f"there is no such field: {', '.join(left[:5])}")


def strangers(instance: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """The properties that neither ``properties`` nor ``patternProperties`` name."""
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    return [
        key
        for key in instance
        if key not in known and not any(_found(each, key) for each in patterns)
    ]


BY_RE2 = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}
"""In place of the library's own, which search with Python's engine."""
