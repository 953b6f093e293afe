"""The catalogue of verbs as documents: JSON Schemas (draft 2020-12) of arguments and results. Pure.

A rule between two arguments (``__post_init__``) has no place in a schema; the node checks it.
"""

import copy
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import orjson

from farshore_protocol.commands.catalogue import VERBS, Verb

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DIGEST_CHARS = 16


def verb_document(verb: Verb) -> dict[str, Any]:
    """Everything that is said of a verb; ``digest`` changes with all of it but the words for people."""
    document: dict[str, Any] = {
        "name": verb.name,
        "summary": verb.summary,
        "risk": verb.risk,
        "idempotent": verb.idempotent,
        "timeout_s": float(verb.timeout_s),
        "needs": sorted(verb.needs),
        "output": verb.output,
        "queued": verb.queued,
        "args": args_schema(verb),
        "result": None if verb.result is None else message_schema(verb.result),
    }
    return {**document, "digest": _digest(document)}


def args_schema(verb: Verb) -> dict[str, Any]:
    """Of the arguments, which may be no others."""
    return {**message_schema(verb.args), "additionalProperties": False}


def message_schema(kind: type[Any]) -> dict[str, Any]:
    """A schema that stands alone: what ``kind`` refers to is in its ``$defs``."""
    definitions = message_schemas([kind], "#/$defs/{name}")
    schema = {"$schema": DIALECT, **definitions.pop(kind.__name__)}
    return {**schema, "$defs": definitions} if definitions else schema


def message_schemas(kinds: Sequence[type[Any]], ref_template: str) -> dict[str, dict[str, Any]]:
    """Name → schema of these dataclasses and of all that they refer to."""
    _, found = msgspec.json.schema_components(kinds, ref_template=ref_template)
    return {name: _for_readers(copy.deepcopy(schema)) for name, schema in found.items()}


def type_text(of: Mapping[str, Any], code: str = "") -> str:
    """The schema of one field in a few words: ``integer, 1 to 200``. ``code``: stands around values."""
    if "anyOf" in of:
        some = (each for each in of["anyOf"] if each != {"type": "null"})
        return " or ".join(type_text(each, code) for each in some)
    if "enum" in of:
        return ", ".join(f"{code}{each}{code}" for each in of["enum"])
    name = str(of.get("type", "any"))
    if name == "array":
        return f"list of {type_text(of.get('items') or {}, code)}"
    low = of.get("minimum", of.get("exclusiveMinimum"))
    high = of.get("maximum", of.get("exclusiveMaximum"))
    if low is not None and high is not None and high < _ANY_NUMBER:
        return f"{name}, {_number(low)} to {_number(high)}"
    if low is not None:
        return f"{name}, {_number(low)} or more"
    longest = of.get("maxLength")
    return name + (f" of up to {longest:,} characters" if longest else "")


_ANY_NUMBER = 2**53
"""A bound from here on is that of JSON's numbers, and of no interest to people."""


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:,}"


def catalogue_digest(names: Iterable[str], verbs: Mapping[str, Verb] = VERBS) -> str:
    """Of the verbs of these names: nodes with the same one take the same commands.

    Of a verb that ``verbs`` does not hold, its name alone counts.
    """
    digests = {name: _verb_digest(verbs[name]) if name in verbs else "" for name in names}
    return _digest(digests)


@cache
def _verb_digest(verb: Verb) -> str:
    digest: str = verb_document(verb)["digest"]
    return digest


def _digest(document: Mapping[str, Any]) -> str:
    canonical = orjson.dumps(_without_words(document), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:DIGEST_CHARS]


_WORDS = frozenset({"summary", "title", "description"})


def _without_words(document: Any) -> Any:
    """Without what is for people alone; an argument may have such a name."""
    if isinstance(document, list):
        return [_without_words(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {
        key: _without_words(value)
        for key, value in document.items()
        if not (key in _WORDS and isinstance(value, str))
    }


def _for_readers(schema: Any) -> Any:
    """Python's anchors as those of JSON Schema, and a docstring as one line of text."""
    if isinstance(schema, list):
        return [_for_readers(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    tidy = {key: _for_readers(value) for key, value in schema.items()}
    if isinstance(tidy.get("pattern"), str):
        tidy["pattern"] = tidy["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    if isinstance(tidy.get("description"), str):
        tidy["description"] = re.sub(r"\s+", " ", tidy["description"]).replace("``", "`")
    return tidy
