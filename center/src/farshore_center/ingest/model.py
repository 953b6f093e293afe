"""The books of the streams, the ledger of losses, and the clocks of boots.

``accepted`` and ``lost`` are JSON lists of closed ranges.
"""

from sqlalchemy import BigInteger, Integer, LargeBinary, Table
from sqlmodel import Field, SQLModel

# PostgreSQL counts ids in 64 bits; SQLite makes an id by itself only for plain INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")


class StreamBook(SQLModel, table=True):
    """One epoch of one stream of one node."""

    __tablename__ = "stream_book"

    node: str = Field(primary_key=True, max_length=64)
    stream: str = Field(primary_key=True, max_length=16)
    epoch: str = Field(primary_key=True, max_length=64)
    accepted: bytes = Field(default=b"[]", sa_type=LargeBinary)
    lost: bytes = Field(default=b"[]", sa_type=LargeBinary)
    duplicates: int = Field(default=0, sa_type=BigInteger)
    head: int = Field(default=0, sa_type=BigInteger)
    created_ms: int = Field(sa_type=BigInteger)
    updated_ms: int = Field(sa_type=BigInteger)


class StreamLoss(SQLModel, table=True):
    """A line of the ledger: records that will never be accepted, and why."""

    __tablename__ = "stream_loss"

    id: int | None = Field(default=None, primary_key=True, sa_type=_Id)
    node: str = Field(index=True, max_length=64)
    stream: str = Field(max_length=16)
    epoch: str = Field(max_length=64)
    first: int = Field(sa_type=BigInteger)
    last: int = Field(sa_type=BigInteger)
    reason: str = Field(max_length=256)
    at_ms: int = Field(sa_type=BigInteger)


class BootClock(SQLModel, table=True):
    """``base_ms``: the center's wall clock when this boot's monotonic clock stood at zero."""

    __tablename__ = "boot_clock"

    node: str = Field(primary_key=True, max_length=64)
    boot: str = Field(primary_key=True, max_length=64)
    base_ms: int = Field(sa_type=BigInteger)
    updated_ms: int = Field(sa_type=BigInteger)


books: Table = SQLModel.metadata.tables["stream_book"]
losses: Table = SQLModel.metadata.tables["stream_loss"]
boot_clocks: Table = SQLModel.metadata.tables["boot_clock"]
