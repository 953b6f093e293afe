"""The tables of groups and overlays.

A group is known by its path; the tree is what the paths say. The root, ``""``, has no row.
"""

from sqlalchemy import BigInteger, Table, UniqueConstraint
from sqlmodel import Field, SQLModel


class GroupRow(SQLModel, table=True):
    """A group. ``created_by``: ``node`` (a birth named it) or ``person``."""

    __tablename__ = "group"

    path: str = Field(primary_key=True, max_length=512)
    description: str = Field(default="", max_length=1024)
    created_ms: int = Field(sa_type=BigInteger)
    created_by: str = Field(default="person", max_length=8)
    revision: int = Field(default=1)


class OverlayRow(SQLModel, table=True):
    """A saved selector, in its canonical text."""

    __tablename__ = "overlay"
    __table_args__ = (UniqueConstraint("priority", name="uq_overlay_priority"),)

    name: str = Field(primary_key=True, max_length=64)
    selector: str = Field(max_length=16384)
    priority: int = Field()
    description: str = Field(default="", max_length=1024)
    created_ms: int = Field(sa_type=BigInteger)
    updated_ms: int = Field(sa_type=BigInteger)
    revision: int = Field(default=1)


groups: Table = SQLModel.metadata.tables["group"]
overlays: Table = SQLModel.metadata.tables["overlay"]
