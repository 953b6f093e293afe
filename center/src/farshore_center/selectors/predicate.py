"""Whether one node is meant: a selector as a Python predicate. Pure.

It says exactly what the SQL of ``sql.py`` says; a property test holds both to that.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from farshore_center.selectors.model import (
    ORDER,
    AllOf,
    AnyOf,
    Compare,
    Everything,
    Field,
    Has,
    InGroup,
    InOverlay,
    Not,
    OneOf,
    Operand,
    Selector,
)
from farshore_center.selectors.patterns import glob_regex, in_subnet, read_regex
from farshore_center.selectors.values import (
    Value,
    equal,
    fact_values,
    label_values,
    ordered,
    text_value,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A node as selectors see it. ``values``: of labels and facts, by path."""

    name: str
    group: str
    state: Literal["online", "offline"]
    values: Mapping[str, tuple[Value, ...]]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Subject":
        """From a node as the API shows it."""
        values: dict[str, tuple[Value, ...]] = {}
        for path, value in label_values(document["labels"]) | fact_values(document["facts"]):
            values[path] = (*values.get(path, ()), value)
        return cls(
            name=document["name"],
            group=document["group"],
            state=document["state"],
            values=values,
        )

    def of_field(self, field: Field) -> tuple[Value, ...]:
        match field.kind:
            case "node":
                return (text_value(self.name),)
            case "group":
                return (Value(self.group, "s", None),)
            case "state":
                return (Value(self.state, "s", None),)
            case _:
                return self.values.get(field.stored, ())


def matches(selector: Selector, subject: Subject) -> bool:
    """``selector`` without overlays: ``expand`` comes first."""
    match selector:
        case Everything():
            return True
        case Not(inner=inner):
            return not matches(inner, subject)
        case AllOf(parts=parts):
            return all(matches(part, subject) for part in parts)
        case AnyOf(parts=parts):
            return any(matches(part, subject) for part in parts)
        case InGroup(path=path, subtree=subtree):
            below = subtree and (path == "" or subject.group.startswith(path + "/"))
            return subject.group == path or below
        case Has(field=field):
            return _has(field, subject)
        case OneOf(field=field, operands=operands):
            values = subject.of_field(field)
            return any(_equal(value, operand) for value in values for operand in operands)
        case Compare(field=field, op=op, operand=operand):
            # ``!=`` is the opposite of ``=``: true as well where there is no value at all.
            test = _test("=" if op == "!=" else op, operand)
            return any(test(value) for value in subject.of_field(field)) != (op == "!=")
        case InOverlay(name=name):
            raise ValueError(f"overlay:{name} is not expanded")


def _has(field: Field, subject: Subject) -> bool:
    if field.kind == "label":
        return field.stored in subject.values
    below = field.stored + "."
    return any(path == field.stored or path.startswith(below) for path in subject.values)


def _equal(value: Value, operand: Operand) -> bool:
    return equal(value, operand.text, operand.number)


def _test(op: str, operand: Operand) -> Callable[[Value], bool]:
    if op == "=":
        return lambda value: _equal(value, operand)
    if op in ORDER:
        return lambda value: ordered(value, op, operand.text, operand.number)
    on_text = text_test(op, operand.text)
    return lambda value: on_text(value.text)


@functools.lru_cache(maxsize=512)
def text_test(op: str, pattern: str) -> Callable[[str], bool]:
    """What ``~``, ``=~`` and ``within`` say about a text."""
    if op == "=~":
        return read_regex(pattern)
    if op == "within":
        return in_subnet(pattern)
    compiled = re.compile(glob_regex(pattern), re.DOTALL)
    return lambda text: compiled.fullmatch(text) is not None
