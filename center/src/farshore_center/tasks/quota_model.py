"""The table of quotas."""

from sqlalchemy import BigInteger, Table
from sqlmodel import Field, SQLModel


class QuotaRow(SQLModel, table=True):
    """What the tasks of a group's subtree may reserve together; None: no limit. ``group_path`` ``""`` is the
    whole fleet."""

    __tablename__ = "task_quota"

    group_path: str = Field(primary_key=True, max_length=512)
    cpu_milli: int | None = Field(default=None, sa_type=BigInteger)
    memory_bytes: int | None = Field(default=None, sa_type=BigInteger)
    disk_bytes: int | None = Field(default=None, sa_type=BigInteger)
    gpu_milli: int | None = Field(default=None, sa_type=BigInteger)
    instances: int | None = Field(default=None, sa_type=BigInteger)
    revision: int = Field(default=1, sa_type=BigInteger)
    updated_ms: int = Field(sa_type=BigInteger)
    author: str = Field(max_length=64)


quotas: Table = SQLModel.metadata.tables["task_quota"]
