"""The table of nodes. Facts, labels, capabilities and queues are JSON documents (orjson)."""

from sqlalchemy import BigInteger, LargeBinary, Table
from sqlmodel import Field, SQLModel


class Node(SQLModel, table=True):
    """One node. ``group_by``: who put it into its group, ``node`` (at birth) or ``person``.

    ``revision`` counts the changes that people make (for ``ETag``).
    """

    __tablename__ = "node"

    name: str = Field(primary_key=True, max_length=64)
    group_path: str = Field(default="", index=True, max_length=512)
    group_by: str = Field(default="node", max_length=8)
    labels: bytes = Field(default=b"{}", sa_type=LargeBinary)
    labels_by: str = Field(default="node", max_length=8)
    facts: bytes = Field(default=b"{}", sa_type=LargeBinary)
    facts_digest: str | None = Field(default=None, max_length=80)
    online: bool = Field(default=False)
    boot: str | None = Field(default=None, max_length=64)
    conn: int | None = Field(default=None, sa_type=BigInteger)
    agent_version: str | None = Field(default=None, max_length=64)
    protocol: int | None = Field(default=None)
    capabilities: bytes = Field(default=b"{}", sa_type=LargeBinary)
    queue: bytes = Field(default=b"{}", sa_type=LargeBinary)
    heartbeat_s: float = Field(default=30.0)
    clock_offset_ms: float | None = Field(default=None)
    created_ms: int = Field(sa_type=BigInteger)
    last_seen_ms: int | None = Field(default=None, sa_type=BigInteger)
    revision: int = Field(default=1)


nodes: Table = SQLModel.metadata.tables["node"]


class NodeValue(SQLModel, table=True):
    """One value of a node's labels or facts, laid out for selectors (``selectors/values.py``).

    It is derived from the node's row and written in the same transaction. The key is the table's
    order, so that a comparison reads one stretch of it; ``kind``: ``s``, ``n`` or ``b``.
    """

    __tablename__ = "node_value"
    __table_args__ = ({"sqlite_with_rowid": False},)

    path: str = Field(primary_key=True, max_length=255)
    text: str = Field(primary_key=True, max_length=256)
    kind: str = Field(primary_key=True, max_length=1)
    node: str = Field(primary_key=True, max_length=64)
    num: float | None = Field(default=None)


node_values: Table = SQLModel.metadata.tables["node_value"]
