"""A JSON Schema (2020-12) that a person stores: what is taken, and how long checking may take. Pure.

Nothing is fetched: ``$ref`` leads to the schema itself or to the meta-schemas. A format is one that
is checked here. Patterns are RE2's, whose time grows with the text alone; everything else is counted
in steps.
"""

import difflib
import ipaddress
import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import jsonschema
import orjson
import referencing.exceptions
from farshore_protocol.config.pointer import step
from jsonschema import Draft202012Validator, FormatChecker, validators
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from farshore_center.config.patterns import BY_RE2, PatternError, compiled, strangers
from farshore_center.errors import CenterError

MAX_SCHEMA_BYTES = 64 * 1024
MAX_SCHEMA_DEPTH = 32
MAX_STEPS = 200_000
"""Keywords applied to one document; a good schema needs a few for each value."""
MAX_PATTERN = 500
MAX_VIOLATIONS = 20
"""Of one document."""
_MESSAGE_CHARS = 300

FORMATS = FormatChecker(formats=())
"""The formats that are checked; any other is refused in a schema, so that none passes unseen."""


class SchemaError(CenterError):
    """A schema that is not taken; ``path`` points into it."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"{path or '/'}: {detail}")
        self.path = path
        self.detail = detail


class _OutOfStepsError(CenterError):
    """The schema asks for more work than a document is worth."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Violation:
    """``path`` points into the effective configuration."""

    path: str
    message: str


def _format(name: str) -> Callable[[Callable[[str], object]], None]:
    def register(check: Callable[[str], object]) -> None:
        def checks(value: object) -> bool:
            return not isinstance(value, str) or check(value) is not False

        FORMATS.checks(name, raises=ValueError)(checks)

    return register


_format("date")(date.fromisoformat)
_format("ipv4")(ipaddress.IPv4Address)
_format("ipv6")(ipaddress.IPv6Address)
_format("uuid")(
    lambda text: UUID(text).hex == text.replace("-", "").lower() and text.count("-") == 4
)
_format("email")(lambda text: text.count("@") == 1 and text.strip("@") == text and " " not in text)
_format("hostname")(
    lambda text: (
        len(text) <= 253
        and all(
            re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", label)
            for label in text.split(".")
        )
    )
)
_format("uri")(lambda text: bool(urlsplit(text).scheme) and " " not in text)


@_format("date-time")
def _date_time(text: str) -> bool:
    return "T" in text.upper() and datetime.fromisoformat(text).tzinfo is not None


@_format("regex")
def _regex(text: str) -> None:
    try:
        re.compile(text)
    except re.error as exc:
        raise ValueError(str(exc)) from exc


def check_schema(definition: Any) -> None:
    """Raises SchemaError for what is not taken as a document's schema."""
    if not isinstance(definition, dict | bool):
        raise SchemaError("", "a schema is an object, or true or false")
    size = len(orjson.dumps(definition))
    if size > MAX_SCHEMA_BYTES:
        raise SchemaError("", f"{size} bytes, expected {MAX_SCHEMA_BYTES} or fewer")
    used = set()
    for path, key, value in _walk(definition, "", 1):
        used.add(key)
        _check_keyword(path, key, value)
    if {"patternProperties", "unevaluatedProperties"} <= used:
        raise SchemaError(
            "", "unevaluatedProperties beside patternProperties; expected additionalProperties"
        )
    try:
        Draft202012Validator.check_schema(definition)
    except jsonschema.SchemaError as exc:
        path = "".join(step(str(key)) for key in exc.absolute_path)
        raise SchemaError(path, exc.message[:_MESSAGE_CHARS]) from exc
    _check_references(definition)


def _walk(value: Any, at: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    if depth > MAX_SCHEMA_DEPTH:
        raise SchemaError(at[:200], f"deeper than {MAX_SCHEMA_DEPTH} levels")
    if isinstance(value, dict):
        for key, below in value.items():
            yield at + step(key), key, below
            yield from _walk(below, at + step(key), depth + 1)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _walk(below, f"{at}/{number}", depth + 1)


def _check_keyword(path: str, key: str, value: Any) -> None:
    """A word of these is refused wherever it stands, as a property's name too if its value is text."""
    if key == "$schema" and value != Draft202012Validator.META_SCHEMA["$id"]:
        raise SchemaError(path, f"{value!r}: expected {Draft202012Validator.META_SCHEMA['$id']}")
    if key in ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef") and isinstance(value, str):
        raise SchemaError(path, f"{key} is not taken: a schema stands for itself, use $defs")
    if key == "$ref" and isinstance(value, str) and not value.startswith("#"):
        raise SchemaError(path, f"{value[:100]!r}: nothing is fetched; expected '#' or '#/…'")
    if key == "format" and isinstance(value, str) and value not in FORMATS.checkers:
        known = ", ".join(sorted(FORMATS.checkers))
        raise SchemaError(path, f"the format {value[:60]!r} is not checked here; expected {known}")
    if key == "pattern" and isinstance(value, str):
        _check_pattern(path, value)
    if key == "patternProperties" and isinstance(value, dict):
        for pattern in value:
            _check_pattern(path + step(pattern), pattern)


def _check_references(definition: dict[str, Any] | bool) -> None:
    resource = DRAFT202012.create_resource(definition)
    resolver = Registry[Any]().with_resource("", resource).resolver()
    for path, key, value in _walk(definition, "", 1):
        if key == "$ref" and isinstance(value, str):
            try:
                resolver.lookup(value)
            except (referencing.exceptions.Unresolvable, ValueError, LookupError) as exc:
                raise SchemaError(path, f"{value[:100]!r} leads nowhere") from exc


def _check_pattern(path: str, pattern: str) -> None:
    if len(pattern) > MAX_PATTERN:
        raise SchemaError(path, f"a pattern of {len(pattern)} characters, expected {MAX_PATTERN}")
    try:
        compiled(pattern)
    except PatternError as exc:
        raise SchemaError(path, f"the pattern can't be read: {exc} (RE2 syntax)") from exc


_STEPS: ContextVar[Iterator[int]] = ContextVar("steps")
"""Of the check that runs: one validator may be asked by several threads at once."""


def _counted(work: Callable[..., Any]) -> Callable[..., Any]:
    def count(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        if next(_STEPS.get()) > MAX_STEPS:
            raise _OutOfStepsError("too many steps")
        return work(validator, value, instance, schema)

    return count


# Made once: a class of its own for each schema took longer than the checks.
_Validator: Any = validators.extend(  # type: ignore[no-untyped-call] # annotated nowhere
    Draft202012Validator,
    validators={
        keyword: _counted(work)
        for keyword, work in {**Draft202012Validator.VALIDATORS, **BY_RE2}.items()
    },
)


class Schema:
    """One schema, made ready; ``check`` never takes more than ``MAX_STEPS`` keywords."""

    def __init__(self, definition: dict[str, Any] | bool) -> None:
        self._validator = _Validator(definition, registry=Registry(), format_checker=FORMATS)

    def check(self, value: Any, at: str) -> tuple[Violation, ...]:
        """What is wrong with ``value``, which stands at the pointer ``at``."""
        _STEPS.set(itertools.count(1))
        found: list[Violation] = []
        try:
            for error in self._validator.iter_errors(value):
                found += _violations(error, at)
                if len(found) >= MAX_VIOLATIONS:
                    break
        except PatternError as exc:  # stored when patterns were read otherwise
            return (Violation(path=at, message=f"the schema's pattern can't be read: {exc}"),)
        except (_OutOfStepsError, RecursionError):
            detail = f"the schema does not come to an end within {MAX_STEPS} steps"
            return (Violation(path=at, message=detail),)
        return tuple(sorted(found))


def _violations(error: Any, at: str) -> list[Violation]:
    if error.validator == "anyOf" and error.context:
        return [each for below in _meant(error) for each in _violations(below, at)] or [
            Violation(path=_path(error, at), message=_message(error))
        ]
    path = _path(error, at)
    if error.validator != "additionalProperties" or error.validator_value is not False:
        return [Violation(path=path, message=_message(error))]
    known = list(error.schema.get("properties", {}))
    return [
        Violation(path=path + step(key), message=_stranger(key, known))
        for key in strangers(error.instance, error.schema)[:MAX_VIOLATIONS]
    ]


def _stranger(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key[:100], known, n=1)
    return "there is no such field" + (f"; did you mean {near[0]}?" if near else "")


def _meant(error: Any) -> list[Any]:
    """What is wrong with the one alternative that the value's type fits, or that is not null."""
    ways: dict[Any, list[Any]] = {}
    for each in error.context:
        ways.setdefault(each.schema_path[0], []).append(each)
    fit = [
        way for way in ways.values() if not any(e.validator == "type" and not e.path for e in way)
    ]
    fit = fit or [way for way in ways.values() if all(e.validator_value != "null" for e in way)]
    return fit[0] if len(fit) == 1 else []


def _path(error: Any, at: str) -> str:
    return at + "".join(step(str(key)) for key in error.absolute_path)


def _message(error: Any) -> str:
    if error.validator == "maxLength":
        return f"{len(error.instance)} characters, expected {error.validator_value} or fewer"
    text = str(error.message)
    if len(text) > _MESSAGE_CHARS:
        text = f"{text[:100]} … {text[-(_MESSAGE_CHARS - 103) :]}"
    return text


def closed(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The same schema where no object has a property that is not named: what a typing error needs."""
    new: dict[str, Any] = _closed(dict(schema))
    return new


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(each) for each in value]
    if not isinstance(value, dict):
        return value
    new = {key: _closed(below) for key, below in value.items()}
    if new.get("type") == "object" and "properties" in new:
        new.setdefault("additionalProperties", False)
    return new
