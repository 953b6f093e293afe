"""Reads what a person or program asks of the history: times, steps, lists of series. Pure.

A bad value raises ValueError with what was wrong; what would have been right is in the constants.
"""

import re
from datetime import datetime

TIME_EXPECTED = (
    "milliseconds since 1970, an RFC 3339 time with its offset, 'now', or a distance like '-15m'"
)
STEP_EXPECTED = "seconds above 0, or a number with ms, s, m, h or d, like '10s' or '1m'"
SERIES_EXPECTED = "series names or globs, repeated or separated by commas, like 'cpu.*,mem.*'"

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)")
# In a query string an unescaped "+" arrives as a space: "…T10:00:00 02:00".
_LOST_PLUS = re.compile(r" (\d\d:\d\d)$")
# 9999-12-31: beyond it lies no sample, and a later time no longer fits everywhere.
_LAST_MS = 253_402_300_799_999
_MAX_SERIES = 200


def parse_time(text: str, now_ms: int) -> int:
    """Milliseconds since 1970."""
    text = text.strip()
    if text == "now":
        return now_ms
    if text.isascii() and text.isdigit():
        return _bounded(int(text))
    if text.startswith("-"):
        return _bounded(now_ms - _parse_span(text[1:]))
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"+\1", text))
    except ValueError as exc:
        raise ValueError(f"{text!r} is no time") from exc
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset: add 'Z' or '+02:00'")
    return _bounded(round(moment.timestamp() * 1000))


def parse_step(text: str) -> int:
    """Milliseconds, at least one."""
    text = text.strip()
    try:
        step_ms = int(float(text) * 1000) if _is_number(text) else _parse_span(text)
    except OverflowError as exc:
        raise ValueError(f"{text!r} is too long") from exc
    if step_ms < 1:
        raise ValueError(f"{text!r} is no step")
    return _bounded(step_ms)


def split_series(texts: list[str]) -> list[str]:
    """Splits at commas, but not inside of braces: `net.io{device=eth0,direction=in}`."""
    names = [name.strip() for text in texts for name in re.split(r",(?![^{]*\})", text)]
    names = [name for name in names if name]
    if len(names) > _MAX_SERIES:
        raise ValueError(f"{len(names)} names are more than {_MAX_SERIES}")
    return names


def _parse_span(text: str) -> int:
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no span of time")
    return int(float(found[1]) * _UNITS_MS[found[2]])


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) is not None


def _bounded(value_ms: int) -> int:
    if not 0 <= value_ms <= _LAST_MS:
        raise ValueError("the time lies outside of the years 1970 to 9999")
    return value_ms
