"""The report's picture: a bar for each promise, its bound as a line across all of them. Pure.

Bars are drawn by the measured figure as a share of the promised one, so that promises of different
units stand on one axis. Colours that are legible on white and on black; no background.
"""

import math
from typing import Any
from xml.sax.saxutils import escape

from bench.table import number

LEFT, BAR, RIGHT = 330, 460, 190
TOP, ROW, BOTTOM = 64, 46, 56
GREEN, RED, GREY = "#2e9e5b", "#d1483f", "#808890"


def picture(report: dict[str, Any]) -> str:
    """The report as SVG."""
    promises = report["promises"]
    scale = axis_end([promise["ratio"] for promise in promises])
    bottom = TOP + ROW * len(promises)
    width, height = LEFT + BAR + RIGHT, bottom + BOTTOM
    title = "Farshore: measured against promised" + (" (quick)" if report["quick"] else "")
    machine = report["machine"]
    place = f"{report['date'][:10]} · {machine['cores']} cores · {machine['cpu']}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif" '
        f'font-size="13" fill="{GREY}">',
        f"<title>{escape(title)}</title>",
        f'<text x="16" y="26" font-size="17" font-weight="600">{escape(title)}</text>',
        f'<text x="16" y="46" font-size="12">{escape(place)}</text>',
        *_axis(scale, bottom),
        *(
            line
            for row, promise in enumerate(promises)
            for line in _bar(promise, TOP + ROW * row, scale)
        ),
        *_bound(scale, bottom),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def axis_end(ratios: list[float]) -> float:
    """Where the axis ends: a whole or half multiple of the promise, above everything measured."""
    return max(1.5, math.ceil(max(ratios, default=0) * 1.05 * 2) / 2)


def _x(ratio: float, scale: float) -> float:
    return round(LEFT + BAR * ratio / scale, 1)


def _axis(scale: float, bottom: int) -> list[str]:
    step = 0.5 if scale <= 4 else math.ceil(scale / 8)
    lines = []
    for tick in range(int(scale / step) + 1):
        x = _x(tick * step, scale)
        lines.append(
            f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}" stroke="{GREY}" opacity="0.3"/>'
        )
        lines.append(
            f'<text x="{x}" y="{bottom + 18}" text-anchor="middle" font-size="12">'
            f"{tick * step:g}</text>"
        )
    lines.append(
        f'<text x="{LEFT + BAR / 2}" y="{bottom + 40}" text-anchor="middle" font-size="12">'
        "measured, as a multiple of what was promised</text>"
    )
    return lines


def _bound(scale: float, bottom: int) -> list[str]:
    x = _x(1, scale)
    return [
        f'<line x1="{x}" y1="{TOP - 4}" x2="{x}" y2="{bottom}" stroke="{GREY}" '
        'stroke-width="2" stroke-dasharray="5 3"/>',
        f'<text x="{x}" y="{TOP - 9}" text-anchor="middle" font-size="12">promised</text>',
    ]


def _bar(promise: dict[str, Any], top: int, scale: float) -> list[str]:
    colour = GREEN if promise["held"] else RED
    end = _x(promise["ratio"], scale)
    bound = f"promised {promise['bound']} {promise['promised']:g} {promise['unit']}"
    measured = f"{number(promise['measured'])} {promise['unit']} {'✓' if promise['held'] else '✗'}"
    return [
        f'<text x="{LEFT - 14}" y="{top + 20}" text-anchor="end" font-weight="600">'
        f"{escape(promise['name'])}</text>",
        f'<text x="{LEFT - 14}" y="{top + 36}" text-anchor="end" font-size="11">'
        f"{escape(bound)}</text>",
        f'<rect x="{LEFT}" y="{top + 11}" width="{max(1.0, round(end - LEFT, 1))}" height="24" '
        f'rx="2" fill="{colour}"/>',
        f'<text x="{end + 8}" y="{top + 28}" fill="{colour}" font-weight="600">'
        f"{escape(measured)}</text>",
    ]
