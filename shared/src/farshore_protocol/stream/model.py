"""The four streams and their acknowledgement."""

from dataclasses import dataclass

from farshore_protocol.messages.center import CenterMark
from farshore_protocol.messages.record import Count, Seq

STREAMS: tuple[str, ...] = ("results", "events", "reports", "metrics")
"""In order of urgency: what a person waits for goes first."""

MAX_RANGES = 256
"""Ranges in one acknowledgement; of more, the newest are sent first and the rest later."""

Range = tuple[Seq, Seq]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAck:
    """``ranges``: closed intervals of seq that need not be kept; ``resend``: what is missing.

    ``because``: why it is missing, where that is known: ``restored``. ``head``, in the answer to a
    birth and only there: the highest seq that the center knows of; a node that has not come so far
    has an older disk. ``center``: how far the center's database has come with this.
    """

    epoch: str
    ranges: tuple[Range, ...] = ()
    resend: tuple[Range, ...] = ()
    because: str | None = None
    head: Count | None = None
    center: CenterMark | None = None


RESTORED = "restored"
"""Why records are missing: the center's database was restored from a backup."""


Ack = dict[str, StreamAck]
"""``down/<node>/ack``: stream → what the center holds of it."""
