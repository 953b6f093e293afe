"""The tables of commands: the command, one row for each of its targets, what they wrote.

A target has a row from the start, so an absent node is seen as absent.
"""

from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, Table, Text, false, text
from sqlmodel import Field, SQLModel

_UNANSWERED = text("state IN ('queued', 'sent')")
"""A question must say it literally so, or the index is not used for it."""

_SECRET = text("secret AND NOT erased")

RESTARTS = "verb IN ('reboot', 'restart-agent')"
"""Commands after which a node starts anew; as the questions about them must say it."""


class CommandRow(SQLModel, table=True):
    """A command; `args` is JSON text. `by` is who gave it: `field` for one given past the center.

    `secret`: its arguments and what its nodes say are kept no longer than they are needed;
    `erased`: they are gone.
    """

    __tablename__ = "command"
    __table_args__ = (
        Index("ix_command_created", "created_ms", "id"),
        Index("ix_command_secret", "id", sqlite_where=_SECRET, postgresql_where=_SECRET),
        Index(
            "ix_command_restart",
            "expires_ms",
            sqlite_where=text(RESTARTS),
            postgresql_where=text(RESTARTS),
        ),
    )

    id: str = Field(primary_key=True, max_length=64)
    verb: str = Field(max_length=64)
    args: str = Field(sa_type=Text)
    created_ms: int = Field(sa_type=BigInteger)
    expires_ms: int = Field(sa_type=BigInteger)
    timeout_s: float | None = None
    idempotency_key: str | None = Field(default=None, max_length=255, unique=True)
    request_digest: str | None = Field(default=None, max_length=64)
    by: str = Field(max_length=64)
    secret: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    erased: bool = Field(default=False, sa_column_kwargs={"server_default": false()})


class CommandTargetRow(SQLModel, table=True):
    """A command at one node.

    `epoch` and `seq` are those of the report that gave the state. `result` and `error` are JSON
    text, and so is `history`: `[[state, ms, 1 if the node said so], …]`. `held`: not to be sent until
    a person says so, after the center was restored. `cancelling`: the node was asked to end it; it is not
    sent again.
    """

    __tablename__ = "command_target"
    __table_args__ = (
        Index("ix_command_target_node", "node", "state"),
        Index(
            "ix_command_target_unanswered",
            "command_id",
            sqlite_where=_UNANSWERED,
            postgresql_where=_UNANSWERED,
        ),
    )

    command_id: str = Field(
        primary_key=True, max_length=64, foreign_key="command.id", ondelete="CASCADE"
    )
    node: str = Field(primary_key=True, max_length=64)
    state: str = Field(max_length=16)
    reason: str | None = Field(default=None, max_length=255)
    updated_ms: int = Field(sa_type=BigInteger)
    sent_ms: int | None = Field(default=None, sa_type=BigInteger)
    sends: int = 0
    epoch: str | None = Field(default=None, max_length=64)
    seq: int = Field(default=0, sa_type=BigInteger)
    result: str | None = Field(default=None, sa_type=Text)
    error: str | None = Field(default=None, sa_type=Text)
    history: str = Field(sa_type=Text)
    held: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    cancelling: bool = Field(default=False, sa_column_kwargs={"server_default": false()})


class CommandOutputRow(SQLModel, table=True):
    """A chunk of what a command wrote at one node."""

    __tablename__ = "command_output"
    __table_args__ = (
        ForeignKeyConstraint(
            ["command_id", "node"],
            ["command_target.command_id", "command_target.node"],
            ondelete="CASCADE",
        ),
    )

    command_id: str = Field(primary_key=True, max_length=64)
    node: str = Field(primary_key=True, max_length=64)
    stream: str = Field(primary_key=True, max_length=8)
    offset: int = Field(primary_key=True, sa_type=BigInteger)
    text: str = Field(sa_type=Text)


commands: Table = SQLModel.metadata.tables["command"]
targets: Table = SQLModel.metadata.tables["command_target"]
outputs: Table = SQLModel.metadata.tables["command_output"]
