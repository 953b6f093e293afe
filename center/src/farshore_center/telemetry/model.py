"""The tables of the telemetry history.

`telemetry_batch` is the inbox: a batch as it arrived, one row. `telemetry_chunk` holds what became
of many of them: one compressed columnar blob. There is never a row per sample.
"""

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, Table
from sqlmodel import Field, SQLModel

# PostgreSQL counts ids in 64 bits; SQLite makes an id by itself only for plain INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")


class TelemetryBatch(SQLModel, table=True):
    """One accepted batch, until a compaction takes it."""

    __tablename__ = "telemetry_batch"
    __table_args__ = (
        # Covers the range query and, without touching a payload, the list of what is due.
        Index("ix_telemetry_batch_range", "node", "t0_ms", "t1_ms", "received_ms"),
        # An id is never given twice, so "delete what I read" cannot delete a newcomer.
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_Id)
    node: str = Field(max_length=64)
    t0_ms: int = Field(sa_type=BigInteger)
    t1_ms: int = Field(sa_type=BigInteger)
    received_ms: int = Field(sa_type=BigInteger)
    approximate: bool = Field(default=False)
    payload: bytes = Field(sa_type=LargeBinary)


class TelemetryChunk(SQLModel, table=True):
    """Many samples of one node; `samples` counts instants, each with up to `series` values."""

    __tablename__ = "telemetry_chunk"
    __table_args__ = (
        Index("ix_telemetry_chunk_range", "node", "t0_ms", "t1_ms"),
        Index("ix_telemetry_chunk_age", "t1_ms"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_Id)
    node: str = Field(max_length=64)
    t0_ms: int = Field(sa_type=BigInteger)
    t1_ms: int = Field(sa_type=BigInteger)
    samples: int
    series: int
    payload_bytes: int
    payload: bytes = Field(sa_type=LargeBinary)


batches: Table = SQLModel.metadata.tables["telemetry_batch"]
chunks: Table = SQLModel.metadata.tables["telemetry_chunk"]
