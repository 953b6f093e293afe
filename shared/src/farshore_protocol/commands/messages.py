"""A command as it travels to a node, and the node's reports about it."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from farshore_protocol.messages.record import Count, Envelope, WallMillis
from farshore_protocol.names import NAME

CommandId = Annotated[str, Meta(pattern=rf"\A{NAME}\Z")]
Seconds = Annotated[float, Meta(gt=0, le=7 * 86_400)]

NodeState = Literal[
    "received",
    "accepted",
    "running",
    "succeeded",
    "failed",
    "timed_out",
    "cancelled",
    "interrupted",
    "rejected",
    "expired",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """``cmd/<verb>``, in its simple form; every field may be missing when a person writes it.

    ``ttl_s`` counts from the receipt at the node, so it needs no common clock; ``iat`` (the
    sender's wall clock, ms) lets a node that knows the center's time refuse what was long under way.
    ``made``, where it is earlier, is when the command was made, by the same clock: it is the same in
    every attempt, and tells a node that has lost its ledger what it may have run before. ``secret``:
    the node keeps nothing of what was asked and what it came to, beyond the report that it sends.
    ``ask``: nothing is to be run; the node says what it has recorded of the id.
    """

    id: CommandId | None = None
    args: dict[str, Any] = field(default_factory=dict)
    ttl_s: Seconds | None = None
    timeout_s: Seconds | None = None
    iat: WallMillis | None = None
    made: WallMillis | None = None
    secret: bool = False
    ask: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A chunk of what a command wrote; ``offset``: in bytes, within its stream."""

    offset: Count
    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandError:
    """Why a command did not succeed: ``code`` for programs, ``message`` for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """What a person asked for, by which the center learns of it.

    ``group``: to which it was said, ``all`` among them; null where to this node alone. ``args``: null
    where they are too large to be told, and then ``args_bytes`` is their size as JSON.
    """

    group: str | None = None
    args: dict[str, Any] | None = None
    args_bytes: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReport(Envelope):
    """``res/<command id>``: the state that a command has reached, ``at`` on the node's wall clock.

    ``via`` are the states that were passed since the report before: a command that ends at once
    sends one report that holds its whole way. ``by_hand``: in the first report of a command without
    ``iat``, which is no center's.
    """

    id: CommandId
    verb: str
    state: NodeState
    at: WallMillis
    via: tuple[tuple[NodeState, WallMillis], ...] = ()
    output: tuple[Output, ...] = ()
    result: dict[str, Any] | None = None
    error: CommandError | None = None
    by_hand: ByHand | None = None
