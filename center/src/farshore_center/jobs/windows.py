"""Maintenance windows and cron times in a time zone. Pure; `cronsim` reads the expressions.

A time that a clock change skips or repeats is treated as Debian's cron treats it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from farshore_center.jobs.rules import Window


def zone(name: str | None, fallback: str = "UTC") -> ZoneInfo:
    """The time zone, or the fallback when nobody knows that name."""
    for each in (name, fallback):
        found = known_zone(each)
        if found is not None:
            return found
    return ZoneInfo("UTC")


def known_zone(name: str | None) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name.strip())
    except (KeyError, ValueError, OSError):  # an unknown name, a path, a directory
        return None


def cron_fault(cron: str) -> str | None:
    """Why the expression can't be used, or None."""
    try:
        CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC))
    except (CronSimError, ValueError) as exc:
        return str(exc) or "not a cron expression"
    return None


def next_ms(cron: str, tz: ZoneInfo, after_ms: int) -> int | None:
    """When it comes next, None: never."""
    found = next(CronSim(cron, _local(tz, after_ms)), None)
    return None if found is None else round(found.timestamp() * 1000)


def last_ms(cron: str, tz: ZoneInfo, now_ms: int) -> int | None:
    """When it came last, the instant itself included; None: never."""
    # The instant itself counts, so look back from the next second.
    found = next(CronSim(cron, _local(tz, now_ms + 1000), reverse=True), None)
    return None if found is None else round(found.timestamp() * 1000)


def is_open(windows: Sequence[Window], tz: ZoneInfo, now_ms: int) -> bool:
    """Whether one of the windows is open; without any, always."""
    if not windows:
        return True
    for window in windows:
        began = last_ms(window.cron, tz, now_ms)
        if began is not None and began <= now_ms < began + window.duration_s * 1000:
            return True
    return False


def opens_ms(windows: Sequence[Window], tz: ZoneInfo, now_ms: int) -> int | None:
    """When one is open next, now included; None: never."""
    if is_open(windows, tz, now_ms):
        return now_ms
    found = (next_ms(each.cron, tz, now_ms) for each in windows)
    return min((each for each in found if each is not None), default=None)


def _local(tz: ZoneInfo, at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, tz)
