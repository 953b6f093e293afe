"""Which events somebody wants. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement

from farshore_center.events.model import Event, events

KIND_EXPECTED = "a kind such as 'command.target', or the beginning of one such as 'command.*'"

_KIND = re.compile(r"[a-z0-9_.-]{0,63}\*?")


def is_kind_pattern(text: str) -> bool:
    return text != "" and _KIND.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Everything that is given must match; a kind that ends in `*` matches by its beginning."""

    node: str | None = None
    kind: str | None = None
    command: str | None = None
    job: str | None = None

    def matches(self, event: Event) -> bool:
        return (
            (self.node is None or event.node == self.node)
            and (self.command is None or event.command == self.command)
            and (self.job is None or event.job == self.job)
            and (self.kind is None or self._kind_matches(event.kind))
        )

    def _kind_matches(self, kind: str) -> bool:
        pattern = self.kind or ""
        return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern

    def clauses(self) -> Sequence[ColumnElement[bool]]:
        """The same for the database."""
        found: list[ColumnElement[bool]] = []
        if self.node is not None:
            found.append(events.c.node == self.node)
        if self.command is not None:
            found.append(events.c.command == self.command)
        if self.job is not None:
            found.append(events.c.job == self.job)
        if self.kind is not None and self.kind.endswith("*"):
            found.append(events.c.kind.startswith(self.kind[:-1], autoescape=True))
        elif self.kind is not None:
            found.append(events.c.kind == self.kind)
        return found
