"""The picture of both sides: a bar for each way of asking, on a logarithmic axis of seconds. Pure.

Colours that are legible on white and on black; no background.
"""

import math
from typing import Any
from xml.sax.saxutils import escape

from bench.table import number

LEFT, BAR, RIGHT = 250, 470, 130
TOP, ROW, GAP, BOTTOM = 66, 26, 34, 48
OWN, PEER, GREY = "#2e9e5b", "#3f7fbf", "#808890"


def picture(report: dict[str, Any]) -> str:
    """The report as SVG; without a measured side it says only its title."""
    promises = report["promises"]
    medians = [side["runs"]["median"] for each in promises for side in each["sides"]]
    axis = decades(medians)
    bottom = TOP + (2 * ROW + GAP) * len(promises)
    width, height = LEFT + BAR + RIGHT, bottom + BOTTOM
    title = "exec uptime on every node" + (" (quick)" if report["quick"] else "")
    machine = report["machine"]
    place = f"{report['date'][:10]} · {machine['cores']} cores · {machine['cpu']} · medians"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif" '
        f'font-size="13" fill="{GREY}">',
        f"<title>{escape(title)}</title>",
        f'<text x="16" y="26" font-size="17" font-weight="600">{escape(title)}</text>',
        f'<text x="16" y="46" font-size="12">{escape(place)}</text>',
        *_axis(axis, bottom),
    ]
    for row, promise in enumerate(promises):
        parts += _pair(promise, TOP + (2 * ROW + GAP) * row, axis)
    return "\n".join([*parts, "</svg>"]) + "\n"


def decades(seconds: list[float]) -> tuple[int, int]:
    """The powers of ten between which all of them lie."""
    if not seconds:
        return -2, 1
    low, high = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)))
    return low, max(high, low + 1)


def _x(seconds: float, axis: tuple[int, int]) -> float:
    return round(LEFT + BAR * (math.log10(seconds) - axis[0]) / (axis[1] - axis[0]), 1)


def _axis(axis: tuple[int, int], bottom: int) -> list[str]:
    lines = []
    for power in range(axis[0], axis[1] + 1):
        x = _x(10.0**power, axis)
        lines.append(
            f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}" stroke="{GREY}" opacity="0.3"/>'
        )
        lines.append(
            f'<text x="{x}" y="{bottom + 18}" text-anchor="middle" font-size="12">'
            f"{10.0**power:g} s</text>"
        )
    return lines


def _pair(promise: dict[str, Any], top: int, axis: tuple[int, int]) -> list[str]:
    held = "✓" if promise["held"] else "✗"
    said = f"{number(promise['measured'])} × (promised {promise['promised']:g} ×) {held}"
    parts = [
        f'<text x="16" y="{top + 18}" font-weight="600">{escape(promise["name"])}</text>',
        f'<text x="16" y="{top + 36}" font-size="12">{escape(said)}</text>',
    ]
    for row, side in enumerate(promise["sides"]):
        y, end = top + ROW * row, _x(side["runs"]["median"], axis)
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 17}" text-anchor="end" font-size="12">'
            f"{escape(side['name'])}</text>",
            f'<rect x="{LEFT}" y="{y + 4}" width="{max(1.0, round(end - LEFT, 1))}" '
            f'height="{ROW - 6}" rx="2" fill="{PEER if row else OWN}"/>',
            f'<text x="{end + 8}" y="{y + 18}">{number(side["runs"]["median"])} s</text>',
        ]
    return parts
