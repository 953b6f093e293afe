"""The tables of jobs: the job, its nodes, its waves, and every transition of any of them."""

from sqlalchemy import BigInteger, Index, Integer, Table, Text, UniqueConstraint, false, text
from sqlmodel import Field, SQLModel

_Id = BigInteger().with_variant(Integer, "sqlite")

_UNDER_WAY = text("state IN ('active', 'undoing')")
_LIVE = text("state NOT IN ('succeeded', 'aborted', 'rolled_back')")
"""Questions must say them literally so, or the index is not used."""


class JobRow(SQLModel, table=True):
    """A job. ``spec`` is JSON text (``spec.py``); ``revision`` grows with every transition.

    ``parent`` and ``occurrence_ms``: of which job with a cron rule it is which occurrence; there are
    no two for one. ``next_ms``: the next occurrence of a job with such a rule. ``judged``: the last
    verdicts on its gates, JSON text: ``[ms, [[holds, detail], …]]``.
    """

    __tablename__ = "job"
    __table_args__ = (
        Index("ix_job_created", "created_ms", "id"),
        Index("ix_job_live", "state", sqlite_where=_LIVE, postgresql_where=_LIVE),
        UniqueConstraint("parent", "occurrence_ms", name="uq_job_occurrence"),
    )

    id: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=200)
    spec: str = Field(sa_type=Text)
    created_ms: int = Field(sa_type=BigInteger)
    author: str = Field(max_length=64)
    message: str = Field(sa_type=Text)
    idempotency_key: str | None = Field(default=None, max_length=255, unique=True)
    request_digest: str | None = Field(default=None, max_length=64)
    revision: int = Field(default=1, sa_type=BigInteger)
    state: str = Field(max_length=24)
    reason: str | None = Field(default=None, sa_type=Text)
    start_ms: int = Field(sa_type=BigInteger)
    started_ms: int | None = Field(default=None, sa_type=BigInteger)
    ended_ms: int | None = Field(default=None, sa_type=BigInteger)
    deadline_ms: int | None = Field(default=None, sa_type=BigInteger)
    wave: int = 0
    wave_size: int = 0
    wave_ended_ms: int | None = Field(default=None, sa_type=BigInteger)
    approved: int = 1
    parent: str | None = Field(default=None, max_length=64, index=True)
    occurrence_ms: int | None = Field(default=None, sa_type=BigInteger)
    next_ms: int | None = Field(default=None, sa_type=BigInteger)
    judged: str | None = Field(default=None, sa_type=Text)


class JobNodeRow(SQLModel, table=True):
    """A node in a job. ``command_id``: the last command that it was given; ``config_rev``: the
    revision of its configuration that holds the job's layer, or holds it no longer; 0: it needed
    none."""

    __tablename__ = "job_node"
    __table_args__ = (
        Index("ix_job_node_busy", "node", sqlite_where=_UNDER_WAY, postgresql_where=_UNDER_WAY),
    )

    job_id: str = Field(primary_key=True, max_length=64, foreign_key="job.id", ondelete="CASCADE")
    node: str = Field(primary_key=True, max_length=64)
    state: str = Field(max_length=16)
    reason: str | None = Field(default=None, max_length=255)
    wave: int = 0
    attempts: int = 0
    started_ms: int | None = Field(default=None, sa_type=BigInteger)
    updated_ms: int = Field(sa_type=BigInteger)
    heard: str | None = Field(default=None, max_length=16)
    forgiven: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    command_id: str | None = Field(default=None, max_length=64)
    config_rev: int | None = Field(default=None, sa_type=BigInteger)


class JobWaveRow(SQLModel, table=True):
    """A wave that was approved or opened."""

    __tablename__ = "job_wave"

    job_id: str = Field(primary_key=True, max_length=64, foreign_key="job.id", ondelete="CASCADE")
    number: int = Field(primary_key=True)
    size: int = 0
    nodes: int = 0
    opened_ms: int | None = Field(default=None, sa_type=BigInteger)
    ended_ms: int | None = Field(default=None, sa_type=BigInteger)
    approved_by: str | None = Field(default=None, max_length=64)
    approved_ms: int | None = Field(default=None, sa_type=BigInteger)


class JobStepRow(SQLModel, table=True):
    """One transition, in the transaction that made it. Without ``node``: of the job, or of its wave."""

    __tablename__ = "job_step"
    __table_args__ = (
        Index("ix_job_step_job", "job_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_Id)
    job_id: str = Field(max_length=64, foreign_key="job.id", ondelete="CASCADE")
    at_ms: int = Field(sa_type=BigInteger)
    node: str | None = Field(default=None, max_length=64)
    wave: int | None = None
    state: str = Field(max_length=24)
    reason: str | None = Field(default=None, sa_type=Text)
    by: str = Field(max_length=64)


jobs: Table = SQLModel.metadata.tables["job"]
job_nodes: Table = SQLModel.metadata.tables["job_node"]
waves: Table = SQLModel.metadata.tables["job_wave"]
steps: Table = SQLModel.metadata.tables["job_step"]
