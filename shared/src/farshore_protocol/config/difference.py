"""What differs between two configurations, leaf by leaf. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from farshore_protocol.config.digest import canonical
from farshore_protocol.config.pointer import ABSENT, step

Kind = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """At ``path`` stood ``before``, and then ``after``; None for what is not there (see ``kind``)."""

    path: str
    before: Any
    after: Any
    kind: Kind


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """By path. Empty exactly when both have the same digest."""
    return sorted(_changes(before, after, ""), key=lambda change: change.path)


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: 1, 1.0 and true are three values."""
    if one is other:
        return True
    return type(one) is type(other) and canonical(one) == canonical(other)


def _changes(before: Any, after: Any, at: str) -> Iterator[Change]:
    if before is after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from _changes(before.get(key, ABSENT), after.get(key, ABSENT), at + step(key))
    elif before is ABSENT:
        for path, value in _leaves(after, at):
            yield Change(path=path, before=None, after=value, kind="added")
    elif after is ABSENT:
        for path, value in _leaves(before, at):
            yield Change(path=path, before=value, after=None, kind="removed")
    elif not same(before, after):
        yield Change(path=at, before=before, after=after, kind="changed")


def _leaves(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, at + step(key))
    else:
        yield at, value
