"""Whether a node is online: pure, from its own words, its will and the heartbeat's deadline.

``boot`` and ``conn`` tell a current word from a late one: a death of another boot or of an older
connection is ignored, whatever order a broker delivers take-overs in. One of a newer connection is
news: the center was away from its broker when that one began. A boot that is not the current one is
believed only when it brings a birth, which is never retained and never a will.
"""

from dataclasses import dataclass, replace
from typing import Literal

MISSED_HEARTBEATS = 3
LEAST_SILENCE_S = 10.0

Change = Literal["online", "offline"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """``deadline_s``: on the center's monotonic clock, when silence makes the node offline."""

    online: bool = False
    boot: str | None = None
    conn: int = 0
    heartbeat_s: float = 30.0
    deadline_s: float = 0.0

    def patience_s(self) -> float:
        return max(LEAST_SILENCE_S, MISSED_HEARTBEATS * self.heartbeat_s)


def born(
    standing: Standing, *, boot: str, conn: int, heartbeat_s: float, now_s: float
) -> tuple[Standing, Change]:
    """A birth: believed unless it is of an older connection of the current boot."""
    if boot == standing.boot and conn < standing.conn:
        return standing, None
    new = replace(standing, online=True, boot=boot, conn=conn, heartbeat_s=heartbeat_s)
    return _alive(new, now_s), _change(standing, new)


def said(
    standing: Standing, *, online: bool, boot: str, conn: int, now_s: float
) -> tuple[Standing, Change]:
    """A presence message or a will."""
    if boot != standing.boot:
        # Before its first birth here nothing is known of the node; later a birth must come first.
        if standing.boot is not None or not online:
            return standing, None
    elif conn < standing.conn:
        return standing, None
    new = replace(standing, online=online, boot=boot, conn=conn)
    return (_alive(new, now_s) if online else new), _change(standing, new)


def beat(standing: Standing, *, boot: str, conn: int, now_s: float) -> tuple[Standing, Change]:
    """A heartbeat: keeps alive, and revives a node whose death was told falsely."""
    if boot != standing.boot or conn < standing.conn:
        return standing, None
    new = replace(standing, online=True, conn=conn)
    return _alive(new, now_s), _change(standing, new)


def heard(standing: Standing, *, now_s: float) -> Standing:
    """Any other message of the node: it lives, if it is thought to.

    Not a presence message: it may be its will, or lie at the broker since long ago.
    """
    return _alive(standing, now_s) if standing.online else standing


def passed(standing: Standing, *, now_s: float) -> tuple[Standing, Change]:
    """Time went by without a word."""
    if not standing.online or now_s < standing.deadline_s:
        return standing, None
    return replace(standing, online=False), "offline"


def _alive(standing: Standing, now_s: float) -> Standing:
    return replace(standing, deadline_s=now_s + standing.patience_s())


def _change(old: Standing, new: Standing) -> Change:
    if old.online == new.online:
        return None
    return "online" if new.online else "offline"
