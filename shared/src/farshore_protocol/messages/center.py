"""What the center says to all nodes, and what it says to the sender of something wrong."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from farshore_protocol.messages.record import Count, Token, WallMillis

CenterMark = tuple[Token, Token, Count]
"""How far a center's database had come: its name, the start of the center on it, the generation.

The name is for ever and goes into every copy; a start is an epoch of its own; the generation counts
what was committed before anything was acknowledged.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CenterStateMessage:
    """``fs1/center``, retained, and the center's will.

    ``epoch`` names this start of the center, ``database`` and ``generation`` as in
    ``CenterMark`` (the generation is the one at that start). ``rate``: records a second that one
    node should not exceed; ``hold_s``: seconds that nodes should wait, spread at random, before
    they send their backlog. Null means no wish.
    """

    state: Literal["online", "offline"]
    epoch: str = ""
    database: str = ""
    generation: Count = 0
    rate: Annotated[float, Meta(gt=0)] | None = None
    hold_s: Annotated[float, Meta(ge=0)] | None = None


UNKNOWN_NODE = "unknown_node"
"""The reason by which a center asks a node for its birth: it does not know it (any more)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMessage:
    """``down/<node>/error``: a message of the node was refused; ``at`` is the center's time, ms."""

    topic: str
    reason: str
    detail: str
    at: WallMillis
