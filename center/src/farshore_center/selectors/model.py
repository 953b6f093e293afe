"""What a selector says: a frozen tree. Pure; it knows neither text nor SQL.

The tree is canonical: ``all_of`` and ``any_of`` take up nested ones of their kind, so two texts that
differ in superfluous parentheses alone are the same tree.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from farshore_center.selectors.errors import SelectorError
from farshore_center.selectors.values import read_number

Kind = Literal["node", "group", "state", "label", "fact"]
Op = Literal["=", "!=", "<", "<=", ">", ">=", "~", "=~", "within"]

ORDER: frozenset[Op] = frozenset({"<", "<=", ">", ">="})
STATES = ("online", "offline")

MAX_TERMS = 200
"""Below what SQLite takes in one expression, with room for the terms of saved selectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What is asked about. ``path``: the label's name, or the fact's path joined by dots."""

    kind: Kind
    path: str = ""

    @property
    def stored(self) -> str:
        """How its values are filed."""
        return f"{self.kind}.{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """What is compared with. ``quoted``: it is a text, even where it reads as a number."""

    text: str
    quoted: bool = False

    @property
    def number(self) -> float | None:
        return None if self.quoted else read_number(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """``all``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InGroup:
    """The group, or with ``subtree`` it and everything below it. ``""`` is the root."""

    path: str
    subtree: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InOverlay:
    """A saved selector by its name; ``expand`` puts what it says in its place."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Has:
    field: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Compare:
    field: Field
    op: Op
    operand: Operand


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOf:
    field: Field
    operands: tuple[Operand, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    inner: "Selector"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    parts: "tuple[Selector, ...]"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    parts: "tuple[Selector, ...]"


Selector = Everything | InGroup | InOverlay | Has | Compare | OneOf | Not | AllOf | AnyOf


def all_of(parts: Iterable[Selector]) -> Selector:
    flat = [p for part in parts for p in (part.parts if isinstance(part, AllOf) else (part,))]
    return flat[0] if len(flat) == 1 else AllOf(parts=tuple(flat))


def any_of(parts: Iterable[Selector]) -> Selector:
    flat = [p for part in parts for p in (part.parts if isinstance(part, AnyOf) else (part,))]
    return flat[0] if len(flat) == 1 else AnyOf(parts=tuple(flat))


def terms(selector: Selector) -> Iterator[Selector]:
    """Its leaves, from left to right."""
    match selector:
        case Not(inner=inner):
            yield from terms(inner)
        case AllOf(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from terms(part)
        case _:
            yield selector


def fields(selector: Selector) -> frozenset[Kind]:
    """The kinds of things that it looks at."""
    found: set[Kind] = set()
    for term in terms(selector):
        match term:
            case Has(field=field) | Compare(field=field) | OneOf(field=field):
                found.add(field.kind)
            case InGroup():
                found.add("group")
            case _:
                pass
    return frozenset(found)


def overlays(selector: Selector) -> tuple[str, ...]:
    """The names of the saved selectors that it uses."""
    return tuple(term.name for term in terms(selector) if isinstance(term, InOverlay))


def expand(selector: Selector, saved: Callable[[str], Selector]) -> Selector:
    """Every saved selector replaced by what it says. They don't use one another, so once is enough.

    ``saved`` raises SelectorError for a name that it does not know.
    """
    if not overlays(selector):
        return selector
    grown = _expanded(selector, saved)
    count = sum(1 for _ in terms(grown))
    if count > MAX_TERMS:
        raise SelectorError(
            f"{count} terms with those of the overlays", expected=f"{MAX_TERMS} or fewer"
        )
    return grown


def _expanded(selector: Selector, saved: Callable[[str], Selector]) -> Selector:
    match selector:
        case InOverlay(name=name):
            return saved(name)
        case Not(inner=inner):
            return Not(inner=_expanded(inner, saved))
        case AllOf(parts=parts):
            return all_of(_expanded(part, saved) for part in parts)
        case AnyOf(parts=parts):
            return any_of(_expanded(part, saved) for part in parts)
        case _:
            return selector
