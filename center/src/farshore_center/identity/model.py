"""The tables of the center's identity: its database, its starts, and the nodes that are ahead."""

from sqlalchemy import BigInteger, LargeBinary, Table
from sqlmodel import Field, SQLModel


class CenterRow(SQLModel, table=True):
    """The one row. ``database`` goes into every copy; ``state``: ``normal`` or ``restored``.

    ``restored_number``: the start in which the latest restore was seen, 0 for none.
    """

    __tablename__ = "center"

    id: int = Field(primary_key=True)
    database: str = Field(max_length=64)
    state: str = Field(default="normal", max_length=16)
    since_ms: int = Field(sa_type=BigInteger)
    restored_number: int = Field(default=0, sa_type=BigInteger)


class CenterEpochRow(SQLModel, table=True):
    """A start of a center on this database, and the last generation that was committed in it.

    ``known``: False for one that only nodes have told of: it began after the backup was made.
    ``cut``: whether nodes have seen more of it than this database holds.
    """

    __tablename__ = "center_epoch"

    epoch: str = Field(primary_key=True, max_length=64)
    number: int = Field(sa_type=BigInteger)
    generation: int = Field(sa_type=BigInteger)
    began_ms: int = Field(sa_type=BigInteger)
    known: bool = Field(default=True)
    cut: bool = Field(default=False)


class CenterAheadRow(SQLModel, table=True):
    """A node that has obeyed acknowledgements which this database does not know of.

    ``streams`` is JSON: what was missing of each when the node came.
    """

    __tablename__ = "center_ahead"

    node: str = Field(primary_key=True, max_length=64)
    epoch: str = Field(max_length=64)
    generation: int = Field(sa_type=BigInteger)
    at_ms: int = Field(sa_type=BigInteger)
    streams: bytes = Field(default=b"[]", sa_type=LargeBinary)


centers: Table = SQLModel.metadata.tables["center"]
epochs: Table = SQLModel.metadata.tables["center_epoch"]
aheads: Table = SQLModel.metadata.tables["center_ahead"]
