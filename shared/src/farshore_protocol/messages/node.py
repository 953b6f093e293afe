"""A node's presence, birth, heartbeat and time exchange.

``boot`` names one start of the agent, ``conn`` counts its connections within that start: together
they let everyone tell a current word from a late one, whatever the broker does with wills.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from msgspec import Meta

from farshore_protocol.messages.center import CenterMark
from farshore_protocol.messages.record import Count, Millis, Token, WallMillis

Conn = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Label = Annotated[str, Meta(max_length=256)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """``presence``, retained, and also the will."""

    state: Literal["online", "offline"]
    boot: Token
    conn: Conn


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHead:
    """Where a stream stands at the node: its epoch, its last seq, and what it still holds."""

    epoch: Token
    head: Count
    records: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a node can do. ``verbs_digest``: of its verbs with their arguments, as
    ``catalogue_digest`` counts it."""

    verbs: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()
    verbs_digest: Annotated[str, Meta(max_length=64)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Birth:
    """``birth``: the first word on every connection.

    ``center``: the newest mark of a center whose acknowledgements were obeyed.
    """

    protocol: Count
    agent_version: Annotated[str, Meta(max_length=64)]
    boot: Token
    conn: Conn
    up_ms: Millis
    ts: WallMillis
    group: str = ""
    labels: dict[str, Label] = field(default_factory=dict)
    capabilities: Capabilities = Capabilities()
    facts_digest: str | None = None
    revisions: dict[str, Count] = field(default_factory=dict)
    digests: dict[str, Annotated[str, Meta(max_length=80)]] = field(default_factory=dict)
    streams: dict[str, StreamHead] = field(default_factory=dict)
    heartbeat_s: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    center: CenterMark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What waits in one stream's outbox, and the stream's head."""

    records: Count
    bytes: Count
    head: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """``heartbeat``, QoS 0; ``offset_ms``: center's clock minus the node's wall clock."""

    boot: Token
    conn: Conn
    up_s: Annotated[float, Meta(ge=0)]
    queue: dict[str, Queue] = field(default_factory=dict)
    offset_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRequest:
    """``up/time``: asks the center for its time, saying one's own at sending."""

    boot: Token
    up_ms: Millis
    ts: WallMillis


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeAnswer:
    """``down/time``: the request's own times again, and the center's at receipt and at sending.

    Offset and delay follow as in NTP (RFC 5905, section 8), with the node's monotonic clock for
    the round trip.
    """

    boot: Token
    up_ms: Millis
    ts: WallMillis
    received_ms: WallMillis
    sent_ms: WallMillis
