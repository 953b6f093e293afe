"""Values as the texts of table cells. Pure: no terminal, no clock.

What a node sent may hold anything, terminal escapes included: ``clean`` makes it harmless, and
everything that prints a foreign text goes through it.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from farshore_center.words import counted as counted

NOTHING = "-"
"""An empty cell: visible, so that columns stay countable for awk."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def clean(text: str, keep: str = "") -> str:
    """``text`` with every character that could steer a terminal or reorder it made visible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _visible(c) for c in text)


def _visible(char: str) -> str:
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def block(text: str) -> str:
    """Several lines of foreign text: line ends and tabs stay, the rest is as in ``clean``."""
    return clean(text.replace("\r\n", "\n"), keep="\n\t")


def scalar(value: Any) -> str:
    """Any JSON value in one line."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return clean(value) or NOTHING
    return clean(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def pairs(mapping: Mapping[str, Any]) -> str:
    """Labels: ``env=prod,line=3``."""
    return ",".join(f"{clean(k)}={scalar(mapping[k])}" for k in sorted(mapping)) or NOTHING


def instant_ms(text: str | None) -> int | None:
    """An RFC 3339 time in milliseconds since 1970; None for none, or for what is no such time."""
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round(when.timestamp() * 1000) if when.tzinfo else None


def instant_text(at_ms: int) -> str:
    """Milliseconds since 1970 as the API writes an instant."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"


def age(text: str | None, now_ms: int) -> str:
    """How long ago: ``3s``, ``12m``, ``5h``, ``9d``; a time ahead of us is ``0s``."""
    then = instant_ms(text)
    return NOTHING if then is None else span(max(0, now_ms - then) / 1000)


def span(seconds: float) -> str:
    """A length of time in its largest two useful units."""
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < _DAY:
        minutes = whole % _HOUR // _MINUTE
        return f"{whole // _HOUR}h" + (f"{minutes:02d}m" if minutes else "")
    hours = whole % _DAY // _HOUR
    return f"{whole // _DAY}d" + (f"{hours}h" if hours else "")


def took(start: str | None, end_ms: int | None) -> str:
    """A duration with the precision that a command's needs: ``0.12s``, ``14.2s``, ``3m``."""
    begun = instant_ms(start)
    if begun is None or end_ms is None:
        return NOTHING
    seconds = max(0, end_ms - begun) / 1000
    if seconds < 10:
        return f"{seconds:.2f}s"
    return f"{seconds:.1f}s" if seconds < _MINUTE else span(seconds)


def parse_duration(text: str) -> float:
    """``90``, ``90s``, ``15m``, ``2h``, ``1d`` in seconds; ValueError says what was expected."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"{text!r} is no duration, expected for example 90s, 15m, 2h or 1d")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def count(number: int | float | None) -> str:
    """``1,234,567``."""
    return NOTHING if number is None else f"{number:,}"


def quantity(value: float | None, unit: str = "") -> str:
    """A measured value for people; bytes in powers of 1024, the rest with three or so digits."""
    if value is None:
        return NOTHING
    if unit in ("B", "B/s"):
        return _scaled_bytes(value) + unit[1:]
    size = abs(value)
    if size >= 1e6:
        text = f"{value:.3g}"
    elif size >= 1000 or value == int(value):
        text = f"{value:.0f}"
    else:
        text = f"{value:.1f}" if size >= 10 else f"{value:.3g}"
    return f"{text}{unit}" if unit in ("", "%") else f"{text} {unit}"


def _scaled_bytes(value: float) -> str:
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while abs(value) >= 1023.5 and len(units) > 1:
        value /= 1024
        units.pop(0)
    precise = units[0] != "B" and abs(value) < 99.95
    return f"{value:.1f} {units[0]}" if precise else f"{value:.0f} {units[0]}"


def ranges(items: list[list[int]], at_most: int = 4) -> str:
    """``4-9, 12`` and how many more."""
    shown = [str(a) if a == b else f"{a}-{b}" for a, b in items[:at_most]]
    if len(items) > at_most:
        shown.append(f"{len(items) - at_most} more")
    return ", ".join(shown) or NOTHING


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of facts as dotted paths to its leaves, in the tree's order."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            leaves.update(flat(value, f"{path}."))
        else:
            leaves[path] = value
    return leaves
