"""How long a grant may run: the arithmetic of its lease. Pure.

All times are seconds on a clock of the node that counts on while the machine sleeps and starts anew
with its boot (``CLOCK_BOOTTIME``). A lease counts from the sending of the request that was answered, so
no delay of the link prolongs it (Gray and Cheriton, SOSP 1989).
"""

from dataclasses import dataclass

from farshore_protocol.tasks import TaskSpec

MARGIN_S = (0.25, 1.0)
"""Between the kill and the lease's end, least and most; a twentieth of the lease in between."""
RENEW_S = (0.2, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """``stop_s``: when its orderly stop begins; ``kill_s``: when all of it is killed, before ``end_s``."""

    stop_s: float
    kill_s: float
    end_s: float


def margin_s(spec: TaskSpec) -> float:
    lost_s = spec.disconnect.lost_after_s
    least, most = MARGIN_S
    wanted = min(most, max(least, lost_s / 20))
    return min(wanted, max(0.0, (lost_s - spec.stop_grace_s) / 4))


def lease_of(spec: TaskSpec, asked_s: float) -> Lease:
    """Of a grant whose renewal was asked for at ``asked_s``, and answered."""
    end_s = asked_s + spec.disconnect.lost_after_s
    kill_s = end_s - margin_s(spec)
    return Lease(stop_s=kill_s - spec.stop_grace_s, kill_s=kill_s, end_s=end_s)


def renew_every_s(spec: TaskSpec) -> float:
    """A quarter of the lease, and three times before its stop would begin."""
    lost_s = spec.disconnect.lost_after_s
    free_s = lost_s - spec.stop_grace_s - margin_s(spec)
    least, most = RENEW_S
    return max(least, min(most, lost_s / 4, free_s / 3))
