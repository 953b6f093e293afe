"""Instants as the API writes them: RFC 3339, UTC, milliseconds. It does not read a clock."""

from datetime import UTC, datetime
from functools import lru_cache

LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: beyond it the format has no room."""


def rfc3339(at_ms: int) -> str:
    """``2026-11-22T19:54:53.120Z``; a broken clock's number becomes the nearest that fits."""
    seconds, millis = divmod(min(max(at_ms, 0), LAST_MS), 1000)
    return f"{_to_the_second(seconds)}.{millis:03}Z"


@lru_cache(maxsize=4096)
def _to_the_second(seconds: int) -> str:
    """A command to a thousand nodes has thousands of instants within the same few seconds."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
