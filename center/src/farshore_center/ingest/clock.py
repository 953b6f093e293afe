"""When a record was made, on the center's clock. Pure.

In this order: a wall clock that the node itself checked against the center's; the boot's monotonic
clock, placed by a time exchange; else the node's wall clock as it is, marked approximate.
"""

from farshore_protocol.messages import Envelope, TimeRequest

PLAUSIBLE_MS = 86_400_000
"""A clock that differs more than this from the center's is counted as out of the world."""


def boot_base_ms(request: TimeRequest, received_ms: int, known_ms: int | None) -> int:
    """The center's time at the boot's zero; the exchange with the least delay is believed."""
    base_ms = received_ms - request.up_ms
    return base_ms if known_ms is None else min(base_ms, known_ms)


def correct(envelope: Envelope, base_ms: int | None) -> tuple[int, bool]:
    """The record's time in ms on the center's clock, and whether it is only approximate."""
    if envelope.synced:
        return envelope.ts, False
    if base_ms is not None:
        return base_ms + envelope.up_ms, False
    return envelope.ts, True


def plausible(at_ms: int, approximate: bool, now_ms: int) -> bool:
    """Whether a record may have been made then: a corrected one may be old, but not of tomorrow."""
    if approximate:
        return abs(at_ms - now_ms) <= PLAUSIBLE_MS
    return at_ms - now_ms <= PLAUSIBLE_MS
