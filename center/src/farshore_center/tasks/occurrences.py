"""When a batch task with a cron rule runs again: never twice for one time, and never too late. Pure.

The time that comes next is a column of the task. Whoever begins a run compares and sets it in the same
transaction, so a center that dies in between, or two of them, begin one run: the rest is asking this
module again.
"""

from dataclasses import dataclass

from farshore_center.events.instant import rfc3339
from farshore_center.jobs.windows import last_ms, next_ms, zone

LATE_S = 300.0
"""A time that nobody was there for is still taken so much later, and only the last of several."""

_UTC = zone("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """``at_ms``: the time whose run begins now; None: it is left out. ``next_ms``: when to ask again; None:
    never. ``reason``: for the task's history."""

    at_ms: int | None
    next_ms: int | None
    reason: str


def first_ms(cron: str, now_ms: int) -> int | None:
    """Of a task that was just written; its own minute counts for the next time alone."""
    return next_ms(cron, _UTC, now_ms)


def occurrence(
    cron: str, due_ms: int, now_ms: int, *, busy: str | None = None, late_s: float = LATE_S
) -> Occurrence | None:
    """What becomes of the times since ``due_ms``, the one that was awaited; None: it is not yet due.

    ``busy``: why no new run may begin, such as that the one before is not over.
    """
    if now_ms < due_ms:
        return None
    # A rule's times are whole minutes or seconds: what came last is one of those awaited.
    came_ms = max(due_ms, last_ms(cron, _UTC, now_ms) or due_ms)
    after_ms = next_ms(cron, _UTC, now_ms)
    before = f"; none ran from {rfc3339(due_ms)} on" if came_ms > due_ms else ""
    at = rfc3339(came_ms)
    if now_ms - came_ms > late_s * 1000:
        why = f"{at}: missed: the center was not there then, nor soon after{before}"
        return Occurrence(at_ms=None, next_ms=after_ms, reason=why)
    if busy is not None:
        return Occurrence(at_ms=None, next_ms=after_ms, reason=f"{at}: left out: {busy}{before}")
    return Occurrence(at_ms=came_ms, next_ms=after_ms, reason=f"{at}{before}")
