"""What the agent keeps, and the contract of the databases that keep it.

``SqliteDatabase`` and ``MemoryDatabase`` pass the same conformance suite.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from farshore_protocol.messages import CenterMark


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record of a stream as it will be sent; ``path`` is its topic below the node: ``tel/host``."""

    stream: str
    seq: int
    path: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A line of the loss ledger: records that will never be sent, and why."""

    stream: str
    epoch: str
    first: int
    last: int
    reason: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """A command in the ledger: ``request`` and ``report`` are JSON; the report is the last one.

    ``request`` is needed for a command that may be run again; once it is final, a mark of what it
    asked for is left (``commands/by_hand.py``), or nothing where that is not known.
    """

    id: str
    verb: str
    state: str
    at_ms: int
    request: bytes
    report: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """A stream as the database holds it; ``kept``: closed ranges of seq, ascending.

    ``reserved``: the last seq that may have been given out. Above ``head`` it is not known which of
    them were: they lived in memory.
    """

    epoch: str
    head: int
    kept: tuple[tuple[int, int], ...] = ()
    bytes: int = 0
    reserved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a stream has counted, and may count without another mark.

    ``head``: every seq up to it is on the disk, acknowledged or in the loss ledger. It never goes
    back; ``reserved`` may, to what was given out.
    """

    stream: str
    head: int
    reserved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """A damaged database that was set aside when this one was made.

    ``lost``: (stream, epoch, first, last) of what it held, as far as that could be read. ``told``:
    the center's events about it are in the outbox. ``ledger_from_ms``: the center's time from which
    on the ledger of commands knows everything; None while the center's time was not known.
    """

    file: str
    reason: str
    at_ms: int
    lost: tuple[tuple[str, str, int, int], ...] = ()
    told: bool = False
    ledger_from_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Every stream goes on in a new epoch, empty; ``losses`` and ``records`` of the same change come
    after it."""

    epoch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRow:
    """A grant of this node with all that is known of it: ``body`` is JSON (``tasks/model.py``)."""

    id: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChange:
    """``rev``: of the document that was taken. ``epochs``: highest ones by ``task/instance``; they
    never fall. ``gone``: ids of rows to forget, before ``rows`` are written."""

    rev: int | None = None
    epochs: Mapping[str, int] = field(default_factory=dict)
    gone: Sequence[str] = ()
    rows: Sequence[TaskRow] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskBooks:
    """All that the database has of tasks."""

    rev: int = 0
    epochs: Mapping[str, int] = field(default_factory=dict)
    rows: Sequence[TaskRow] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes durable together, or not at all; ``settled``: (stream, first, last) to delete.

    ``aside`` takes the place of what the database says about the one before it.
    ``center``: the newest mark of a center that was obeyed. ``unanswered``: the heads when an agent
    began whose birth was not answered yet; empty once it was. ``tasks``: in their order.
    """

    records: Sequence[Record] = ()
    settled: Sequence[tuple[str, int, int]] = ()
    losses: Sequence[Loss] = ()
    commands: Sequence[CommandRow] = ()
    marks: Sequence[Mark] = ()
    aside: SetAside | None = None
    center: CenterMark | None = None
    unanswered: Mapping[str, int] | None = None
    turn: Turn | None = None
    tasks: Sequence[TaskChange] = ()


Freed = Mapping[str, int]
"""Bytes of payload that left the database with the settled ranges of a change, by stream."""


class Database(Protocol):
    """Every method raises DatabaseError when the database can't be read or written."""

    def streams(self) -> dict[str, StreamState]:
        """The streams as they stand; every stream of the protocol has one."""
        ...

    def records(self, stream: str, seqs: Iterable[int]) -> dict[int, Record]:
        """Those of the records that are there."""
        ...

    def losses(self) -> list[Loss]: ...

    def command(self, command_id: str) -> CommandRow | None: ...

    def unfinished_commands(self) -> list[CommandRow]:
        """Commands whose recorded state is ``received`` (it waits for its turn), ``accepted`` or
        ``running``."""
        ...

    def recent_commands(self, limit: int) -> list[CommandRow]:
        """Those of the ledger that changed last, the newest first."""
        ...

    def center(self) -> CenterMark | None:
        """The mark that the last change with one has left."""
        ...

    def unanswered(self) -> Mapping[str, int]:
        """The heads before anything that no answer to a birth has confirmed; empty: all is."""
        ...

    def tasks(self) -> TaskBooks:
        """The grants of this node."""
        ...

    async def commit(self, change: Change) -> Freed:
        """Returns once the change is durable. Raises DatabaseError, and then nothing was kept.

        A record that is there already, byte for byte, is taken for a second attempt at the same
        commit; another one under its seq is refused, and so is one of a stream that does not exist.
        """
        ...

    async def close(self) -> None: ...
