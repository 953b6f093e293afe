"""When a record was made, on the center's clock. Pure.

In this order: a wall clock that the node itself checked against the center's; the boot's monotonic
clock, placed by a time exchange; else the node's wall clock as it is, marked approximate. None of
them is believed against reason: a record of 1970 would be deleted by retention as soon as it was
acknowledged, and one of ten years ahead never. Where nothing can be believed, it is the receipt.
"""

from farshore_protocol.messages import Envelope, TimeRequest

PLAUSIBLE_MS = 86_400_000
"""A clock that differs more than this from the center's is counted as out of the world."""
FIRST_MS = 1_672_531_200_000
"""The beginning of 2023, before there was a Farshore. A clock that was never set says 1970 or 2000."""


def boot_base_ms(request: TimeRequest, received_ms: int, known_ms: int | None) -> int:
    """The center's time at the boot's zero; the exchange with the least delay is believed."""
    base_ms = received_ms - request.up_ms
    return base_ms if known_ms is None else min(base_ms, known_ms)


def correct(
    envelope: Envelope, base_ms: int | None, *, received_ms: int, oldest_ms: int
) -> tuple[int, bool]:
    """The record's time in ms on the center's clock, and whether it is only approximate.

    ``oldest_ms``: a date before it is believed only where it could be checked.
    """
    if envelope.synced and _possible(envelope.ts, received_ms):
        return envelope.ts, False
    if base_ms is not None and _possible(base_ms + envelope.up_ms, received_ms):
        return base_ms + envelope.up_ms, False
    if envelope.ts >= oldest_ms and _possible(envelope.ts, received_ms):
        return envelope.ts, True
    return received_ms, True


def doubt(envelope: Envelope, timed: tuple[int, bool], received_ms: int) -> str | None:
    """What a person should know about where ``correct`` put a record."""
    at_ms, approximate = timed
    if not approximate or abs(envelope.ts - received_ms) <= PLAUSIBLE_MS:
        return None
    kept = "kept as it is" if at_ms == envelope.ts else "dated by its receipt"
    return f"ts {envelope.ts}: far from now and not correctable; {kept}"


def _possible(at_ms: int, received_ms: int) -> bool:
    """Not before there was a Farshore, and not after tomorrow."""
    return FIRST_MS <= at_ms <= received_ms + PLAUSIBLE_MS
