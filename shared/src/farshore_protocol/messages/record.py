"""The envelope of a stream record, and the records that are no telemetry and no command.

``epoch`` and ``seq`` make a record unique for ever; ``boot`` and ``up_ms`` place it on the
monotonic clock of one start of the agent, ``ts`` on the node's wall clock (``synced``: that clock
was checked against the center's in this boot).
"""

from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

Seq = Annotated[int, Meta(ge=1, le=2**53 - 1)]
"""1, 2, 3 … within an epoch; no larger than every JSON reader holds exactly."""
Token = Annotated[str, Meta(min_length=1, max_length=64)]
Millis = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
WallMillis = Annotated[int, Meta(ge=-(2**53) + 1, le=2**53 - 1)]
"""Milliseconds since 1970 by a clock that may be wrong."""

STREAM_OF = {"res": "results", "evt": "events", "rep": "reports", "tel": "metrics"}
"""The stream that a topic's kind belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What every record of a stream carries; ``hist`` marks one that was sent from the backlog.

    ``unanswered``: sent before a center had answered this start of the agent, for whoever listens: its seq
    may be one that an older time of the disk gave out. It comes again, without the mark or anew.
    """

    epoch: Token
    seq: Seq
    boot: Token
    up_ms: Millis
    ts: WallMillis
    synced: bool = False
    hist: bool = False
    unanswered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Envelope):
    """``evt/<kind>``: something happened at the node."""

    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsReport(Envelope):
    """``rep/facts``: what the agent found out about its machine; ``digest`` of the canonical JSON."""

    digest: str
    facts: dict[str, Any]
