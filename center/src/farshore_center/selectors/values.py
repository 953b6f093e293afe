"""The values of a node that selectors compare, and what equal and less mean. Pure.

Labels are texts; facts are a tree of JSON. Both are laid out flat: a path, joined by dots, has a
**set** of values. What stands in a list has the path of the list, so a comparison with
``fact.interfaces.addresses`` is true if any address fits. A null, an empty list and an empty object
are no value. This is the one place where a value becomes comparable: the database is filled from
here, and the predicate reads from here.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import orjson

MAX_TEXT = 256
"""Of a value's text only so many characters are compared."""
MAX_PATH = 200
MAX_VALUES = 2000
"""A node's facts beyond these are not selectable: no node may fill the database."""
MAX_DEPTH = 16

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

ValueKind = Literal["s", "n", "b"]


class Value(NamedTuple):
    """``kind``: what it is in JSON, a string, number or boolean. ``num``: what it is as a number.

    A string that reads as a number has one too, for ``<`` and ``>=``.
    """

    text: str
    kind: ValueKind
    num: float | None


def read_number(text: str) -> float | None:
    """The number that the whole text is, if it is one that a double can hold."""
    if len(text) > 64 or not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def text_value(text: str) -> Value:
    text = text.replace("\x00", "\ufffd")[:MAX_TEXT]
    return Value(text, "s", read_number(text))


def equal(value: Value, text: str, number: float | None) -> bool:
    """Spelled alike; or both numbers (not texts that look like one) and the same."""
    return value.text == text or (number is not None and value.kind == "n" and value.num == number)


def ordered(value: Value, op: str, text: str, number: float | None) -> bool:
    """With a number: as numbers, where the value reads as one. With a text: texts by code point."""
    if number is not None:
        return value.num is not None and _ORDER[op](value.num, number)
    return value.kind == "s" and _ORDER[op](value.text, text)


_ORDER: Mapping[str, Any] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def label_values(labels: Mapping[str, str]) -> frozenset[tuple[str, Value]]:
    return frozenset((f"label.{name}", text_value(text)) for name, text in labels.items())


def fact_values(facts: Mapping[str, Any]) -> frozenset[tuple[str, Value]]:
    """Every leaf of the tree with its path."""
    found: set[tuple[str, Value]] = set()
    waiting: list[tuple[str, Any, int]] = [("fact", facts, 0)]
    while waiting and len(found) < MAX_VALUES:
        path, content, depth = waiting.pop()
        if len(path) > MAX_PATH or depth > MAX_DEPTH:
            continue
        if isinstance(content, Mapping):
            inside: Iterable[tuple[str, Any]] = [
                (f"{path}.{_key(key)}", inner) for key, inner in content.items()
            ]
        elif isinstance(content, list | tuple):
            inside = [(path, inner) for inner in content]
        else:
            value = _scalar(content)
            if value is not None:
                found.add((path, value))
            continue
        waiting.extend((at, inner, depth + 1) for at, inner in reversed(list(inside)))
    return frozenset(found)


def _key(key: str) -> str:
    return key.replace("\x00", "\ufffd")


def _scalar(content: Any) -> Value | None:
    if content is None:
        return None
    if isinstance(content, str):
        return text_value(content)
    if isinstance(content, bool):
        return Value("true" if content else "false", "b", None)
    return _number(content)


def _number(content: Any) -> Value | None:
    try:
        number = float(content)
        text = orjson.dumps(content).decode()
    except (TypeError, ValueError, OverflowError):
        return None
    return Value(text[:MAX_TEXT], "n", number) if math.isfinite(number) else None
