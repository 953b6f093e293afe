"""The four streams and their acknowledgement."""

from dataclasses import dataclass

from farshore_protocol.messages.record import Seq

STREAMS: tuple[str, ...] = ("results", "events", "reports", "metrics")
"""In order of urgency: what a person waits for goes first."""

MAX_RANGES = 256
"""Ranges in one acknowledgement; of more, the newest are sent first and the rest later."""

Range = tuple[Seq, Seq]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamAck:
    """``ranges``: closed intervals of seq that need not be kept; ``resend``: what is missing."""

    epoch: str
    ranges: tuple[Range, ...] = ()
    resend: tuple[Range, ...] = ()


Ack = dict[str, StreamAck]
"""``down/<node>/ack``: stream → what the center holds of it."""
