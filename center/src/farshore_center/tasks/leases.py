"""The leases of grants that end with their node's silence: which are renewed, and when each is surely over.

In memory alone: a center that begins counts every lease as answered at that moment. Whoever decides that an
instance goes elsewhere closes its lease first, and only then looks at the clock.
"""

from collections.abc import Callable

from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.tasks import LeaseAnswer, LeaseRequest
from farshore_protocol.topics import Down

from farshore_center.tasks.records import Granted, GrantKey, Key

DRIFT = 0.005
"""By so much a node's monotonic clock may be slower than the center's."""
MARGIN_S = 0.25

_NEVER = float("-inf")


def over_s(answered_s: float, lease_s: float) -> float:
    """When a lease that was answered then is surely over, by the center's monotonic clock. The node
    counts from when it asked, which was before."""
    return answered_s + lease_s * (1 + DRIFT) + MARGIN_S


class Leases:
    def __init__(self, *, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._start_s = now_s()
        self._open: dict[Key, tuple[str, int]] = {}
        self._answered_s: dict[GrantKey, float] = {}
        self.answered = self.refused = 0
        self.used = False
        """Whether a center was here before: the database may be a backup that lacks what it granted."""

    def forgotten_s(self, lease_s: float) -> float:
        """Until when a grant that nobody here knows of may still hold such a lease."""
        return over_s(self._start_s, lease_s) if self.used else _NEVER

    def granted(self, grant: Granted) -> None:
        """It was granted by this center in this life: its node runs nothing before its first answer."""
        if grant.lease_s:
            self._answered_s.setdefault(grant.key, _NEVER)

    def open(self, grant: Granted) -> None:
        """Its renewals are answered from now on."""
        if grant.lease_s:
            self._open[grant.of] = (grant.node, grant.epoch)

    def close(self, key: Key) -> None:
        """No renewal is answered any more; what was answered stays."""
        self._open.pop(key, None)

    def ended(self, grant: GrantKey) -> None:
        self._answered_s.pop(grant, None)
        if self._open.get(grant[:2], ("", 0))[1] == grant[2]:
            del self._open[grant[:2]]

    def over_s(self, grant: Granted) -> float:
        if not grant.lease_s:
            return _NEVER
        answered_s = self._answered_s.get(grant.key, self._start_s)
        return answered_s if answered_s == _NEVER else over_s(answered_s, grant.lease_s)

    def answer(self, node: str, request: LeaseRequest) -> Message:
        """Renews those that are this node's, and notes it before it is said."""
        now_s = self._now_s()
        renewed = tuple(
            held for held in request.held if self._open.get(held[:2]) == (node, held[2])
        )
        for task, instance, epoch in renewed:
            self._answered_s[task, instance, epoch] = now_s
        self.answered += len(renewed)
        self.refused += len(request.held) - len(renewed)
        answer = LeaseAnswer(boot=request.boot, up_ms=request.up_ms, renewed=renewed)
        topic = Down(node=node, kind="lease").build()
        return Message(topic=topic, payload=encode(answer), qos=0)
