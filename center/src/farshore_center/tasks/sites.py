"""Which nodes are silent, since when, and whether that is a death or a cut link. Pure.

A site is all nodes of one group. That its nodes fall silent together says nothing about any of them, so
a silent node of a site counts as dead only when another node there was heard **after** the silent one
should have spoken: a cut is noticed for each node at another moment, and the first must not be moved
because the others have not missed a word yet.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

MISSED_HEARTBEATS = 3.0
DUE_HEARTBEATS = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """What was heard of a node. ``heard_s``: its last sign of life, on the center's monotonic clock;
    ``told_s``: when it was said that it goes (its own word, or its will)."""

    node: str
    group: str = ""
    online: bool = True
    heard_s: float = 0.0
    heartbeat_s: float = 30.0
    told_s: float | None = None
    here_since_s: float = 0.0

    def overdue_s(self) -> float:
        """From when on an online node that says nothing counts as silent."""
        return self.heard_s + MISSED_HEARTBEATS * self.heartbeat_s

    def silent_since_s(self, now_s: float) -> float | None:
        """None: it is not silent."""
        if not self.online or now_s >= self.overdue_s():
            return self.heard_s
        return None

    def due_s(self) -> float:
        """A peer that is heard after this was heard while this one said nothing. A broker says the wills of
        a cut site one after the other, so what a peer had said before a will proves nothing."""
        if self.told_s is not None:
            return max(self.told_s, self.heard_s)
        return self.heard_s + DUE_HEARTBEATS * self.heartbeat_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """``until_ms``: when what is left there is stopped; None: never."""

    until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A node as decisions see it. ``cut``: its silence may be that of its site's link. By the center's
    monotonic clock, ``here_since_s``: it is online since then; ``heard_s``: its last sign of life."""

    known: bool = True
    silent_since_s: float | None = None
    here_since_s: float = 0.0
    heard_s: float = math.inf
    cut: bool = False
    drain: Drain | None = None


UNKNOWN = Sight(known=False)


@dataclass(slots=True)
class Sites:
    """The ears of the fleet, by site; for one moment."""

    ears: Mapping[str, Ear]
    now_s: float
    _members: dict[str, list[Ear]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for ear in self.ears.values():
            if ear.group:
                self._members.setdefault(ear.group, []).append(ear)

    def peers(self, node: str) -> list[Ear]:
        """The other nodes of its site; a node without a group is a site of its own."""
        group = self.ears[node].group
        return [ear for ear in self._members.get(group, ()) if ear.node != node]

    def cut(self, node: str) -> bool:
        """Whether the silence of this node may be a cut link."""
        ear, peers = self.ears[node], self.peers(node)
        return bool(peers) and not any(self._lives(peer, ear.due_s()) for peer in peers)

    def _lives(self, peer: Ear, after_s: float) -> bool:
        return peer.silent_since_s(self.now_s) is None and peer.heard_s > after_s

    def sight(self, node: str, drain: Drain | None = None) -> Sight:
        ear = self.ears.get(node)
        if ear is None:
            return UNKNOWN
        since_s = ear.silent_since_s(self.now_s)
        return Sight(
            silent_since_s=since_s,
            here_since_s=ear.here_since_s,
            heard_s=ear.heard_s,
            cut=since_s is not None and self.cut(node),
            drain=drain,
        )

    def sights(self, nodes: Iterable[str], drains: Mapping[str, Drain]) -> dict[str, Sight]:
        return {node: self.sight(node, drains.get(node)) for node in nodes}
