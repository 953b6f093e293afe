"""Live logs: lines as they come, at QoS 0, while somebody asks for them."""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from farshore_protocol.messages.record import Count, Token, WallMillis

LogEnd = Literal["lease_over", "source_failed", "agent_stopped", "unknown"]

_KEPT_CHARS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLines:
    """``up/<node>/log/<name>``. ``tail`` names this run of it, ``seq`` counts its messages: a hole is
    what the link or a broker lost. ``dropped``: lines that were left out before these, because too
    many came or the link was full; ``source``: which log. ``end``: it is the last, and why; ``unknown``:
    a renewal for a tail that does not run. ``ts``: the node's wall clock."""

    tail: Token | None
    seq: Count
    ts: WallMillis
    source: str = ""
    lines: tuple[str, ...] = ()
    dropped: Count = 0
    end: LogEnd | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRenewal:
    """``down/<node>/log/<name>``: whoever listens asks for so many seconds more."""

    follow_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0


def log_name(*, unit: str | None, path: str | None, grep: str | None) -> str:
    """The last level of the topic for a log, and for what is looked for in it: a unit that can be a
    name is its own, without ``.service``; else a readable part and a digest."""
    plain = (unit or "").removesuffix(".service")
    if grep is None and re.fullmatch(rf"[a-z0-9][a-z0-9_-]{{0,{_KEPT_CHARS - 1}}}", plain):
        return plain
    text = unit if unit is not None else (path or "").rpartition("/")[2]
    readable = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:_KEPT_CHARS] or "log"
    whole = "\0".join(("unit" if unit is not None else "path", unit or path or "", grep or ""))
    return f"{readable}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
