"""Builds the tree of a selector while its text is read, and refuses what has no meaning.

The parser calls it at each rule that it has recognised: there is no walk and no recursion, and a token
still knows its place. It does not know the grammar's text.
"""

import difflib
import json
import re
from typing import Any, NamedTuple

from farshore_protocol.errors import RemoteProtocolError
from farshore_protocol.names import check_name, check_tree_group
from lark import Token, Transformer, v_args

from farshore_center.selectors.errors import SelectorError
from farshore_center.selectors.model import (
    ORDER,
    STATES,
    Compare,
    Everything,
    Field,
    Has,
    InGroup,
    InOverlay,
    Not,
    OneOf,
    Op,
    Operand,
    Selector,
    all_of,
    any_of,
)
from farshore_center.selectors.patterns import PatternError, read_glob, read_regex, read_subnet
from farshore_center.selectors.values import read_number

MAX_NESTING = 32

_SEGMENTS = re.compile(r'\.([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*")')


class _Part(NamedTuple):
    selector: Selector
    depth: int


def _deeper(part: _Part) -> _Part:
    if part.depth >= MAX_NESTING:
        raise SelectorError(
            f"more than {MAX_NESTING} levels of parentheses and not", expected="a flatter selector"
        )
    return _Part(part.selector, part.depth + 1)


@v_args(inline=True)
class Builder(Transformer[Token, Selector]):
    """A method for each rule of the grammar."""

    def start(self, part: _Part) -> Selector:
        return part.selector

    def either(self, *parts: _Part) -> _Part:
        return _Part(any_of(p.selector for p in parts), max(p.depth for p in parts))

    def both(self, *parts: _Part) -> _Part:
        return _Part(all_of(p.selector for p in parts), max(p.depth for p in parts))

    def negated(self, part: _Part) -> _Part:
        inner = _deeper(part)
        return _Part(Not(inner=inner.selector), inner.depth)

    def nested(self, part: _Part) -> _Part:
        return _deeper(part)

    def everything(self, _token: Token) -> _Part:
        return _Part(Everything(), 0)

    def node_glob(self, token: Token) -> _Part:
        glob, at = _after(token, "node:")
        if not glob:
            raise SelectorError("no name follows node:", at=at, expected="a name or a glob")
        _check_pattern("~", glob, at)
        return _Part(Compare(field=Field(kind="node"), op="~", operand=Operand(text=glob)), 0)

    def in_group(self, token: Token) -> _Part:
        path, at = _after(token, "group:")
        if path in ("**", "/**"):
            return _Part(InGroup(path="", subtree=True), 0)
        subtree = path.endswith("/**")
        path = path.removesuffix("/**")
        if path == "":
            raise SelectorError(
                "no path follows group:", at=at, expected="a path, or / for the root"
            )
        if path != "/":
            _check_group(path, at)
        return _Part(InGroup(path="" if path == "/" else path, subtree=subtree), 0)

    def overlay(self, token: Token) -> _Part:
        name, at = _after(token, "overlay:")
        try:
            return _Part(InOverlay(name=check_name(name, "overlay")), 0)
        except RemoteProtocolError as exc:
            raise SelectorError(exc.detail, at=at, expected="an overlay's name") from exc

    def field(self, token: Token) -> tuple[Field, Token]:
        match token.type:
            case "NODE":
                field = Field(kind="node")
            case "GROUP":
                field = Field(kind="group")
            case "STATE":
                field = Field(kind="state")
            case "LABEL":
                field = Field(kind="label", path=token.removeprefix("label."))
            case _:
                field = Field(kind="fact", path=_fact_path(token))
        return field, token

    def has(self, found: tuple[Field, Token]) -> _Part:
        field, token = found
        if field.kind not in ("label", "fact"):
            raise SelectorError(
                f"every node has a {field.kind}",
                at=token.start_pos or 0,
                expected="label.K or fact.PATH",
            )
        return _Part(Has(field=field), 0)

    def operand(self, token: Token) -> tuple[Operand, Token]:
        text = str(token)
        quoted = token.type == "STRING"
        if quoted:
            text = _unquoted(token)
        return Operand(text=text, quoted=quoted and read_number(text) is not None), token

    def one_of(self, found: tuple[Field, Token], *operands: tuple[Operand, Token]) -> _Part:
        field, _ = found
        for operand, token in operands:
            _check_value(field, operand, token)
        return _Part(OneOf(field=field, operands=tuple(o for o, _ in operands)), 0)

    def compare(
        self, found: tuple[Field, Token], sign: Token, right: tuple[Operand, Token]
    ) -> _Part:
        (field, _), (operand, token) = found, right
        op: Op = str(sign)  # type: ignore[assignment]  # the grammar lets nothing else through
        allowed = "= != in" if field.kind == "state" else "= != ~ =~ in"
        if field.kind not in ("label", "fact") and op not in allowed.split():
            raise SelectorError(
                f"{field.kind} can't be compared by {op}",
                at=sign.start_pos or 0,
                expected=allowed,
            )
        if op not in ORDER:
            if op in ("~", "=~", "within"):
                operand = Operand(text=operand.text)
                _check_pattern(op, operand.text, token.start_pos or 0)
            else:
                _check_value(field, operand, token)
        return _Part(Compare(field=field, op=op, operand=operand), 0)


def _after(token: Token, prefix: str) -> tuple[str, int]:
    return token.removeprefix(prefix), (token.start_pos or 0) + len(prefix)


def _check_pattern(op: str, pattern: str, at: int) -> None:
    read: Any = {"~": read_glob, "=~": read_regex, "within": read_subnet}[op]
    try:
        read(pattern)
    except PatternError as exc:
        raise SelectorError(exc.detail, at=at, expected=exc.expected) from exc


def _check_group(path: str, at: int) -> None:
    try:
        check_tree_group(path)
    except RemoteProtocolError as exc:
        raise SelectorError(
            exc.detail, at=at, expected="a group's path, such as eu/hamburg"
        ) from exc


def _check_value(field: Field, operand: Operand, token: Token) -> None:
    at = token.start_pos or 0
    if field.kind == "state" and operand.text not in STATES:
        near = difflib.get_close_matches(operand.text.lower(), STATES, n=1)
        raise SelectorError(
            f"there is no state {operand.text[:64]!a}",
            at=at,
            expected="online or offline",
            near=tuple(near),
        )
    if field.kind == "group" and operand.text:
        _check_group(operand.text, at)


def _unquoted(token: Token) -> str:
    at = token.start_pos or 0
    try:
        text = token[1:-1] if token.startswith("'") else str(json.loads(str(token), strict=False))
        text.encode()
    except ValueError as exc:  # what is no escape of JSON, and half of a surrogate pair
        raise SelectorError(
            "the text in quotes can't be read",
            at=at,
            expected='escapes as in JSON: \\" \\\\ \\u00e9',
        ) from exc
    if "\x00" in text:
        raise SelectorError("a text can't hold the character 0", at=at)
    return text


def _fact_path(token: Token) -> str:
    parts = [
        _unquoted(Token("STRING", part[1], start_pos=(token.start_pos or 0) + part.start(1)))
        if part[1].startswith('"')
        else part[1]
        for part in _SEGMENTS.finditer(str(token))
    ]
    return ".".join(parts)
