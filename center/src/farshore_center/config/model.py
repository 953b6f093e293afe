"""The tables of configuration. Patches, schemas and what nodes report are JSON documents (orjson).

A revision never changes. What is to be sent to a node is written in the transaction that decides
it: the revision in ``node_config``, the configuration in ``config_body``, once for all nodes that
run the same.
"""

from sqlalchemy import BigInteger, Integer, LargeBinary, Table, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

_Id = BigInteger().with_variant(Integer, "sqlite")


class ConfigLayerRow(SQLModel, table=True):
    """A layer; ``rev`` is its newest revision. One that was deleted keeps its revisions."""

    __tablename__ = "config_layer"
    __table_args__ = (UniqueConstraint("kind", "name", name="uq_config_layer_kind_name"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=_Id)
    kind: str = Field(max_length=8)
    name: str = Field(max_length=512)
    rev: int
    live: bool


class ConfigRevisionRow(SQLModel, table=True):
    """One revision of a layer; ``deleted``: with it the layer ended."""

    __tablename__ = "config_revision"

    layer: int = Field(
        primary_key=True, sa_type=_Id, foreign_key="config_layer.id", ondelete="CASCADE"
    )
    rev: int = Field(primary_key=True)
    patch: bytes = Field(sa_type=LargeBinary)
    digest: str = Field(max_length=80)
    deleted: bool
    author: str = Field(max_length=64)
    message: str = Field(sa_type=Text)
    at_ms: int = Field(sa_type=BigInteger)


class ConfigSchemaRow(SQLModel, table=True):
    """One revision of a document's JSON Schema; without ``definition`` it was deleted."""

    __tablename__ = "config_schema"

    document: str = Field(primary_key=True, max_length=264)
    rev: int = Field(primary_key=True)
    definition: bytes | None = Field(default=None, sa_type=LargeBinary)
    author: str = Field(max_length=64)
    message: str = Field(sa_type=Text)
    at_ms: int = Field(sa_type=BigInteger)


class ConfigBodyRow(SQLModel, table=True):
    """An effective configuration that at least one node should run: canonical JSON, zlib."""

    __tablename__ = "config_body"

    digest: str = Field(primary_key=True, max_length=80)
    body: bytes = Field(sa_type=LargeBinary)


class NodeConfigRow(SQLModel, table=True):
    """What a node should run (``rev`` to ``labels``), and what it said last (``reported_…``).

    ``problem``: why the node gets nothing new, JSON; ``error``, ``differences`` and ``override`` are
    the node's, JSON. ``epoch`` and ``seq`` are those of its report.
    """

    __tablename__ = "node_config"

    node: str = Field(primary_key=True, max_length=64)
    rev: int = Field(sa_type=BigInteger)
    digest: str | None = Field(default=None, max_length=80, index=True)
    group_path: str = Field(max_length=512)
    labels: bytes = Field(sa_type=LargeBinary)
    state: str = Field(max_length=16, index=True)
    changed_ms: int = Field(sa_type=BigInteger)
    problem: bytes | None = Field(default=None, sa_type=LargeBinary)
    reported_rev: int | None = Field(default=None, sa_type=BigInteger)
    reported_digest: str | None = Field(default=None, max_length=80)
    reported_ms: int | None = Field(default=None, sa_type=BigInteger)
    running_rev: int | None = Field(default=None, sa_type=BigInteger)
    running: str | None = Field(default=None, max_length=80)
    effective: str | None = Field(default=None, max_length=80)
    error: bytes | None = Field(default=None, sa_type=LargeBinary)
    differences: bytes | None = Field(default=None, sa_type=LargeBinary)
    override: bytes | None = Field(default=None, sa_type=LargeBinary)
    epoch: str | None = Field(default=None, max_length=64)
    seq: int = Field(default=0, sa_type=BigInteger)


layers: Table = SQLModel.metadata.tables["config_layer"]
revisions: Table = SQLModel.metadata.tables["config_revision"]
schemas: Table = SQLModel.metadata.tables["config_schema"]
bodies: Table = SQLModel.metadata.tables["config_body"]
node_configs: Table = SQLModel.metadata.tables["node_config"]
