"""What probes there and back say of a link's rates, and how many bytes that may cost. Pure.

A measurement begins with few bytes and takes more only while they pass too quickly to tell anything: a
slow link, which is dear as a rule, is measured with a few kilobytes.
"""

from farshore_protocol.commands.catalogue.network import LinkTestResult, Throughput
from farshore_protocol.messages import LinkMeasured

FIRST_BYTES = 16 * 1024
ENOUGH_S = 0.5
"""So long a flow says what the link carries."""
LEAST_BYTES = 4 * 1024
"""Fewer say nothing."""
GROWTH = 8
MOST_BYTES_S = 1e12


def next_bytes(flow: Throughput | None, spent: int, most: int) -> int:
    """Of the next step in this direction, ``spent`` of ``most`` being gone; 0: it is measured, or enough
    was spent."""
    left = most - spent
    if flow is None:
        return max(0, min(FIRST_BYTES, left))
    told = flow.seconds >= ENOUGH_S or not flow.complete or not flow.bytes
    if told or left < LEAST_BYTES:
        return 0
    wanted = round(flow.bytes * min(GROWTH, 1.5 * ENOUGH_S / max(flow.seconds, 1e-3)))
    return min(left, wanted)


def rate_of(flow: Throughput | None, round_trip_s: float) -> float | None:
    """Bytes a second; None where it says nothing. Of a long flow its second half counts: at first little is
    under way. Of a short one all of it, without the last answer's way back."""
    if flow is None or flow.bytes < LEAST_BYTES or flow.seconds <= 0:
        return None
    seconds = max(flow.seconds - round_trip_s, flow.seconds / 4)
    rate = flow.bytes / seconds
    if flow.late_bytes_per_s is not None and flow.seconds >= ENOUGH_S / 2:
        rate = flow.late_bytes_per_s
    return min(MOST_BYTES_S, float(f"{rate:.4g}")) or None


def measured(result: LinkTestResult) -> LinkMeasured | None:
    """What a test says of the link; None: nothing."""
    quickest_ms = result.round_trip.min_ms
    if quickest_ms is None:
        return None
    round_trip_s = quickest_ms / 1000
    return LinkMeasured(
        up_bytes_s=rate_of(result.up, round_trip_s),
        down_bytes_s=rate_of(result.down, round_trip_s),
        round_trip_s=round(round_trip_s, 6),
    )


def joined(earlier: LinkMeasured | None, later: LinkMeasured) -> LinkMeasured:
    """The later word, and of what it does not say the earlier one; the quickest round trip."""
    if earlier is None:
        return later
    trips = [each for each in (earlier.round_trip_s, later.round_trip_s) if each is not None]
    return LinkMeasured(
        up_bytes_s=later.up_bytes_s or earlier.up_bytes_s,
        down_bytes_s=later.down_bytes_s or earlier.down_bytes_s,
        round_trip_s=min(trips, default=None),
    )
