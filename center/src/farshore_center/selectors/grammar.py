"""Reads a selector: text to tree, or a SelectorError with the place and what was expected there.

The grammar is for an LALR parser without recursion, so no text can exhaust the stack; the depth of
the tree, which others walk, is bounded here.
"""

import difflib
import functools
import re
from typing import Any

from lark import Lark, UnexpectedCharacters, UnexpectedToken

from farshore_center.selectors.builder import Builder
from farshore_center.selectors.errors import SelectorError
from farshore_center.selectors.model import MAX_TERMS, Selector, terms

MAX_LENGTH = 8192

GRAMMAR = r"""
start: either
?either: both (_OR both)*
?both: factor (_AND factor)*
?factor: _NOT factor -> negated
    | _LPAR either _RPAR -> nested
    | term
?term: ALL -> everything
    | NODE_GLOB -> node_glob
    | IN_GROUP -> in_group
    | OVERLAY -> overlay
    | _HAS _LPAR field _RPAR -> has
    | field OP operand -> compare
    | field WITHIN operand -> compare
    | field _IN _LPAR operand (_COMMA operand)* _RPAR -> one_of
field: NODE | GROUP | STATE | LABEL | FACT
operand: WORD | STRING

_OR: /or(?![\w.:-])/
_AND: /and(?![\w.:-])/
_NOT: /not(?![\w.:-])/
ALL: /all(?![\w.:-])/
_HAS: /has(?=\s*\()/
_IN: /in(?![\w.:-])/
WITHIN: /within(?![\w.:-])/
NODE_GLOB: /node:[^\s(),]*/
IN_GROUP: /group:[^\s(),]*/
OVERLAY: /overlay:[^\s(),]*/
NODE: /node(?![\w.:-])/
GROUP: /group(?![\w.:-])/
STATE: /state(?![\w.:-])/
LABEL: /label\.[A-Za-z0-9_-]+/
FACT: /fact(?:\.(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"))+/
OP: /=~|!=|<=|>=|=|<|>|~/
WORD: /(?:\[[^\]\s"'(),]*\]|[^\s()",'=<>~!\[\]])+/
STRING: /"(?:[^"\\]|\\.)*"|'[^']*'/
_LPAR: "("
_RPAR: ")"
_COMMA: ","
%ignore /\s+/
"""

_TERM = frozenset(
    {"ALL", "NODE_GLOB", "IN_GROUP", "OVERLAY", "_HAS", "NODE", "GROUP", "STATE", "LABEL", "FACT"}
)
_FIELD = frozenset({"NODE", "GROUP", "STATE", "LABEL", "FACT"})
_PHRASES: tuple[tuple[frozenset[str], str], ...] = (
    (
        _TERM | {"_NOT", "_LPAR"},
        "a term (node:GLOB, group:PATH, overlay:NAME, label.K, fact.PATH, node, group, state, "
        "has(…), all), not, or (",
    ),
    (_FIELD, "label.K or fact.PATH"),
    (frozenset({"OP", "_IN", "WITHIN"}), "an operator: = != < <= > >= ~ =~ in within"),
    (frozenset({"WORD", "STRING"}), "a value: a word, a number, or a text in quotes"),
    (frozenset({"_AND", "_OR"}), "and, or"),
    (frozenset({"_COMMA"}), "a comma"),
    (frozenset({"_LPAR"}), "("),
    (frozenset({"_RPAR"}), ")"),
    (frozenset({"$END"}), "the end"),
)
_WORDS = (
    "all", "and", "fact", "group", "has", "in", "label", "node", "not", "or", "overlay",
    "state", "within",
)  # fmt: skip
_FOUND = re.compile(r"""[^\s()=<>!~,"']+|.""", re.DOTALL)


def parse(text: str) -> Selector:
    """The tree of ``text``; SelectorError where it makes no sense."""
    try:
        if len(text) > MAX_LENGTH:
            raise SelectorError(
                f"{len(text)} characters", at=MAX_LENGTH, expected=f"{MAX_LENGTH} or fewer"
            )
        if "\x00" in text:
            raise SelectorError("a text can't hold the character 0", at=text.index("\x00"))
        selector = _parsed(text)
        count = sum(1 for _ in terms(selector))
        if count > MAX_TERMS:
            raise SelectorError(f"{count} terms", expected=f"{MAX_TERMS} or fewer")
    except SelectorError as exc:
        exc.text = text
        raise
    return selector


def _parsed(text: str) -> Selector:
    try:
        found: Any = _parser().parse(text)
    except UnexpectedToken as exc:
        at = len(text) if exc.token.type == "$END" else exc.token.start_pos or 0
        raise _unexpected(text, at, set(exc.accepts or exc.expected)) from exc
    except UnexpectedCharacters as exc:
        raise _unexpected(text, exc.pos_in_stream or 0, set(exc.allowed or ())) from exc
    selector: Selector = found
    return selector


@functools.cache
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", transformer=Builder())


def _unexpected(text: str, at: int, allowed: set[str]) -> SelectorError:
    if allowed & {"$END", "_RPAR"} and "_COMMA" not in allowed:
        allowed |= {"_AND", "_OR"}  # the parser had closed the term before it saw the fault
    expected = [phrase for names, phrase in _PHRASES if names <= allowed]
    if allowed >= _TERM:
        expected = expected[:1]
    if at >= len(text.rstrip()):
        what = "it ends too early" if text.strip() else "the selector is empty"
        end = min(at, len(text)) if text.strip() else 0
        return SelectorError(what, at=end, expected=", ".join(expected))
    found = _FOUND.match(text, at)
    word = found[0] if found else text[at]
    stem = re.split(r"[.:]", word.lower())[0]
    near = [n for n in difflib.get_close_matches(stem, _WORDS, n=2, cutoff=0.6) if n != word]
    return SelectorError(
        f"{word[:64]!a} can't stand here", at=at, expected=", ".join(expected), near=tuple(near)
    )
