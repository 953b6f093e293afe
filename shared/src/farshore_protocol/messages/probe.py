"""A probe of the link, there and back: what delay, loss and throughput are measured with.

No record and in no stream: lost is lost, and counted.
"""

import base64
import functools
import hashlib
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from farshore_protocol.messages.record import Count, Token

PAD_MAX = 64 * 1024
"""Of padding in one message, in bytes."""
Pad = Annotated[str, Meta(max_length=PAD_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """``up/probe``: number ``n`` of a ``test``; the answer is to hold ``answer_bytes`` of padding."""

    test: Token
    n: Count
    answer_bytes: Annotated[int, Meta(ge=0, le=PAD_MAX)] = 0
    pad: Pad = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """``down/probe``: ``test`` and ``n`` again; ``bytes``: of the probe as it arrived. ``busy``: the
    center has too many tests to answer now, and leaves the padding out."""

    test: Token
    n: Count
    bytes: Count
    busy: bool = False
    pad: Pad = ""


Rate = Annotated[float, Meta(gt=0, le=1e12)]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMeasured:
    """The ``data`` of ``evt/link``: what the node has measured of its link to the center, in bytes a second
    and seconds; None: nothing, and what was measured before stands."""

    up_bytes_s: Rate | None = None
    down_bytes_s: Rate | None = None
    round_trip_s: Annotated[float, Meta(ge=0, le=3600)] | None = None


@functools.cache
def _text() -> str:
    noise = hashlib.shake_256(b"farshore").digest(PAD_MAX // 4 * 3)
    return base64.b64encode(noise).decode("ascii") * 2


def padding(size: int, n: int) -> str:
    """``size`` characters, at most ``PAD_MAX``, that no link can compress; others for each ``n``."""
    start = n * 4099 % PAD_MAX
    return _text()[start : start + size]
