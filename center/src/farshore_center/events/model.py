"""What an event is: its draft, the event with its id, and the table.

The table's id is the id of server-sent events. There is one writer, so ids become visible in
order: who has read up to an id has missed nothing below it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import BigInteger, Integer, Table, Text
from sqlmodel import Field, SQLModel

from farshore_center.events.instant import rfc3339

# PostgreSQL counts ids in 64 bits; SQLite makes an id by itself only for plain INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")


class EventRow(SQLModel, table=True):
    """One event; `data` is JSON text."""

    __tablename__ = "event"
    # An id is never given twice, also when the newest events were pruned.
    __table_args__ = {"sqlite_autoincrement": True}

    id: int | None = Field(default=None, primary_key=True, sa_type=_Id)
    at_ms: int = Field(sa_type=BigInteger)
    kind: str = Field(max_length=64)
    node: str | None = Field(default=None, max_length=64, index=True)
    command: str | None = Field(default=None, max_length=64, index=True)
    job: str | None = Field(default=None, max_length=64, index=True)
    data: str = Field(sa_type=Text)


events: Table = SQLModel.metadata.tables["event"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event that is about to be written; without `at_ms` it happens when it is appended."""

    kind: str
    node: str | None = None
    command: str | None = None
    job: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A written event; `data` is JSON text."""

    id: int
    at_ms: int
    kind: str
    node: str | None
    command: str | None
    data: str
    job: str | None = None

    def document(self) -> dict[str, Any]:
        """As the API shows it, for orjson."""
        return {
            "id": self.id,
            "at": rfc3339(self.at_ms),
            "kind": self.kind,
            "node": self.node,
            "command": self.command,
            "job": self.job,
            "data": orjson.Fragment(self.data),
        }
