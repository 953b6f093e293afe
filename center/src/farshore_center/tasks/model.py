"""The tables of tasks: the task and its revisions, its instances, every grant, what nodes are to do.

A decision writes the instance and its grant in one transaction; ``task_instance.version`` is compared
and set by everybody who writes the row, so of two that decide at once one looks again.
"""

from sqlalchemy import BigInteger, Index, Integer, Table, Text, text
from sqlmodel import Field, SQLModel

_Id = BigInteger().with_variant(Integer, "sqlite")

_LIVE = text("state NOT IN ('stopped', 'succeeded', 'failed', 'rejected', 'withdrawn')")
_UNSETTLED = text("state IN ('pending', 'active')")
"""Questions must say them literally so, or the index is not used."""


class TaskRow(SQLModel, table=True):
    """A task. ``wanted``: ``run``, ``stop`` or ``delete``. ``run`` counts what people began anew
    (restart, start) and the occurrences of a cron rule; ``asked_ms``: when that was, from which a
    deadline counts. ``next_ms``: the next occurrence."""

    __tablename__ = "task"

    name: str = Field(primary_key=True, max_length=64)
    revision: int = Field(sa_type=BigInteger)
    spec: str = Field(sa_type=Text)
    digest: str = Field(max_length=80)
    wanted: str = Field(max_length=8)
    run: int = Field(default=1, sa_type=BigInteger)
    author: str = Field(max_length=64)
    created_ms: int = Field(sa_type=BigInteger)
    updated_ms: int = Field(sa_type=BigInteger)
    asked_ms: int = Field(sa_type=BigInteger)
    next_ms: int | None = Field(default=None, sa_type=BigInteger, index=True)


class TaskRevisionRow(SQLModel, table=True):
    """A specification as it was; grants name theirs."""

    __tablename__ = "task_revision"

    task: str = Field(primary_key=True, max_length=64, foreign_key="task.name", ondelete="CASCADE")
    revision: int = Field(primary_key=True, sa_type=BigInteger)
    spec: str = Field(sa_type=Text)
    author: str = Field(max_length=64)
    at_ms: int = Field(sa_type=BigInteger)


class TaskInstanceRow(SQLModel, table=True):
    """One instance. ``epoch``: of its current grant, 0: none; ``last_epoch``: the highest ever given.

    ``revision`` and ``run``: what the state speaks of. ``lapses``: in a row, of leases that ended it.
    ``due_ms``: not granted before. ``avoid``: nodes on which it failed, JSON. ``result``: the accepted
    one, JSON. ``decision``: the last one on its place and why, JSON.
    """

    __tablename__ = "task_instance"
    __table_args__ = (
        Index(
            "ix_task_instance_unsettled",
            "state",
            sqlite_where=_UNSETTLED,
            postgresql_where=_UNSETTLED,
        ),
    )

    task: str = Field(primary_key=True, max_length=64, foreign_key="task.name", ondelete="CASCADE")
    instance: int = Field(primary_key=True)
    version: int = Field(default=1, sa_type=BigInteger)
    state: str = Field(max_length=16)
    since_ms: int = Field(sa_type=BigInteger)
    epoch: int = Field(default=0, sa_type=BigInteger)
    last_epoch: int = Field(default=0, sa_type=BigInteger)
    attempt: int = Field(default=0)
    revision: int = Field(sa_type=BigInteger)
    run: int = Field(default=1, sa_type=BigInteger)
    failures: int = Field(default=0)
    lapses: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    due_ms: int = Field(default=0, sa_type=BigInteger)
    avoid: str = Field(default="[]", sa_type=Text)
    reason: str | None = Field(default=None, sa_type=Text)
    exit_code: int | None = Field(default=None)
    result: str | None = Field(default=None, sa_type=Text)
    decision: str | None = Field(default=None, sa_type=Text)


class TaskGrantRow(SQLModel, table=True):
    """(task, instance, attempt, epoch) on a node. ``state``: of the lifecycle INSTANCE; ``want`` and
    ``why``: what the node is told. ``heard_ms``: of when its last word is, on the center's clock;
    ``heard_boot``, ``heard_up_ms``: the same on the node's. ``lease_s``: 0: it runs on none."""

    __tablename__ = "task_grant"
    __table_args__ = (
        Index("ix_task_grant_live", "node", sqlite_where=_LIVE, postgresql_where=_LIVE),
        Index("ix_task_grant_ended", "ended_ms"),
    )

    task: str = Field(primary_key=True, max_length=64, foreign_key="task.name", ondelete="CASCADE")
    instance: int = Field(primary_key=True)
    epoch: int = Field(primary_key=True, sa_type=BigInteger)
    node: str = Field(max_length=64)
    attempt: int
    revision: int = Field(sa_type=BigInteger)
    run: int = Field(sa_type=BigInteger)
    state: str = Field(max_length=16)
    since_ms: int = Field(sa_type=BigInteger)
    granted_ms: int = Field(sa_type=BigInteger)
    heard_ms: int = Field(default=0, sa_type=BigInteger)
    heard_boot: str = Field(default="", max_length=64, sa_column_kwargs={"server_default": ""})
    heard_up_ms: int = Field(
        default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"}
    )
    ended_ms: int | None = Field(default=None, sa_type=BigInteger)
    want: str = Field(max_length=8)
    why: str | None = Field(default=None, max_length=16)
    lease_s: float = Field(default=0.0)
    gpus: str = Field(default="[]", max_length=512)
    cpus: str = Field(default="[]", sa_type=Text)
    healthy: bool | None = Field(default=None)
    restarts: int = Field(default=0, sa_type=BigInteger)
    exit_code: int | None = Field(default=None)
    reason: str | None = Field(default=None, sa_type=Text)
    run_s: float | None = Field(default=None)


class TaskStepRow(SQLModel, table=True):
    """A line of history: of the task, or of an instance of it."""

    __tablename__ = "task_step"
    __table_args__ = (
        Index("ix_task_step_task", "task", "id"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=_Id)
    task: str = Field(max_length=64)
    instance: int | None = Field(default=None)
    epoch: int | None = Field(default=None, sa_type=BigInteger)
    node: str | None = Field(default=None, max_length=64)
    at_ms: int = Field(sa_type=BigInteger)
    state: str = Field(max_length=24)
    reason: str | None = Field(default=None, sa_type=Text)
    author: str = Field(max_length=64)


class NodeTasksRow(SQLModel, table=True):
    """What a node is to do, by number: ``rev`` of ``desired/tasks``, ``heard_rev`` what it said that it
    has. ``drained``: nothing new comes to it, and what it has goes by ``drain_until_ms``."""

    __tablename__ = "node_tasks"

    node: str = Field(primary_key=True, max_length=64)
    rev: int = Field(default=0, sa_type=BigInteger)
    heard_rev: int = Field(default=0, sa_type=BigInteger)
    drained: bool = Field(default=False)
    drain_ms: int | None = Field(default=None, sa_type=BigInteger)
    drain_until_ms: int | None = Field(default=None, sa_type=BigInteger)
    drain_reason: str | None = Field(default=None, sa_type=Text)
    drain_by: str | None = Field(default=None, max_length=64)


class TaskRunTimeRow(SQLModel, table=True):
    """How long runs of a task took on nodes of a kind: the last ones, JSON, and how many there were."""

    __tablename__ = "task_run_time"

    task: str = Field(primary_key=True, max_length=64)
    kind: str = Field(primary_key=True, max_length=64)
    runs: int = Field(sa_type=BigInteger)
    last_s: str = Field(sa_type=Text)


class NodeLinkRow(SQLModel, table=True):
    """The rates of a node's link to the center, as they were measured last."""

    __tablename__ = "node_link"

    node: str = Field(primary_key=True, max_length=64)
    up_bytes_s: float
    down_bytes_s: float
    latency_s: float
    measured_ms: int = Field(sa_type=BigInteger)


tasks: Table = SQLModel.metadata.tables["task"]
revisions: Table = SQLModel.metadata.tables["task_revision"]
instances: Table = SQLModel.metadata.tables["task_instance"]
grants: Table = SQLModel.metadata.tables["task_grant"]
steps: Table = SQLModel.metadata.tables["task_step"]
node_tasks: Table = SQLModel.metadata.tables["node_tasks"]
run_times: Table = SQLModel.metadata.tables["task_run_time"]
links: Table = SQLModel.metadata.tables["node_link"]
