"""A selector as text, canonically: ``parse(render(x)) == x``. Pure."""

import json
import re

from farshore_center.selectors.model import (
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

BARE = re.compile(r"""(?:\[[^\]\s"'(),]*\]|[^\s()",'=<>~!\[\]])+""")
"""A value that needs no quotes. A set in brackets may hold an exclamation mark."""
SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
GLOB_OF_NODES = re.compile(r"[a-z0-9_*?\[\]!-]+")


def render(selector: Selector) -> str:
    match selector:
        case Everything():
            return "all"
        case AnyOf(parts=parts):
            return " or ".join(render(part) for part in parts)
        case AllOf(parts=parts):
            return " and ".join(_grouped(part, AnyOf) for part in parts)
        case Not(inner=inner):
            return f"not {_grouped(inner, AnyOf, AllOf)}"
        case InGroup(path=path, subtree=subtree):
            return f"group:{path}/**" if subtree else f"group:{path or '/'}"
        case InOverlay(name=name):
            return f"overlay:{name}"
        case Has(field=field):
            return f"has({_field(field)})"
        case OneOf(field=field, operands=operands):
            return f"{_field(field)} in ({', '.join(_operand(o) for o in operands)})"
        case Compare(field=field, op=op, operand=operand):
            if field.kind == "node" and op == "~" and GLOB_OF_NODES.fullmatch(operand.text):
                return f"node:{operand.text}"
            space = " " if op == "within" else ""
            return f"{_field(field)}{space}{op}{space}{_operand(operand)}"


def _grouped(selector: Selector, *kinds: type) -> str:
    text = render(selector)
    return f"({text})" if isinstance(selector, kinds) else text


def _field(field: Field) -> str:
    if field.kind in ("label", "fact"):
        parts = [p if SEGMENT.fullmatch(p) else json.dumps(p) for p in field.path.split(".")]
        return ".".join([field.kind, *parts])
    return field.kind


def _operand(operand: Operand) -> str:
    if operand.quoted or not BARE.fullmatch(operand.text):
        return json.dumps(operand.text, ensure_ascii=False)
    return operand.text
