"""The picture: how many of all instances ran elsewhere so many seconds after the deed, a line for each
contract and way of dying. Pure. Colours that are legible on white and on black; no background.
"""

import math
from typing import Any
from xml.sax.saxutils import escape

from bench.failover.findings import NODE_S

LEFT, WIDTH, RIGHT = 70, 620, 40
TOP, HEIGHT, BOTTOM = 66, 260, 110
GREY, MARK = "#808890", "#d1483f"
COLOURS = ("#2e9e5b", "#3f7fbf", "#c98a1b", "#9a5fc0")


def picture(report: dict[str, Any]) -> str:
    """The report as SVG."""
    rows = report["failover"]
    end_s = axis_end([seconds for row in rows for seconds in row["took_s"]])
    width, height = LEFT + WIDTH + RIGHT, TOP + HEIGHT + BOTTOM
    title = "From the death of a node until its work runs elsewhere"
    machine = report["machine"]
    place = f"{report['date'][:10]} · {machine['cores']} cores · {machine['cpu']}"
    quick = " · quick" if report["quick"] else ""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif" '
        f'font-size="13" fill="{GREY}">',
        f"<title>{escape(title)}</title>",
        f'<text x="16" y="26" font-size="17" font-weight="600">{escape(title)}</text>',
        f'<text x="16" y="46" font-size="12">{escape(place + quick)}</text>',
        *_axes(end_s),
        *_bound(end_s),
    ]
    for number, row in enumerate(rows):
        parts += _line(row, COLOURS[number % len(COLOURS)], number, end_s)
    return "\n".join([*parts, "</svg>"]) + "\n"


def axis_end(seconds: list[float]) -> int:
    """Whole seconds beyond the promise and everything measured."""
    return max(math.ceil(NODE_S) + 1, math.ceil(max(seconds, default=0)))


def _x(seconds: float, end_s: float) -> float:
    return round(LEFT + WIDTH * seconds / end_s, 1)


def _y(share: float) -> float:
    return round(TOP + HEIGHT * (1 - share), 1)


def _axes(end_s: int) -> list[str]:
    lines = []
    step = max(1, math.ceil(end_s / 12))
    for tick in range(0, end_s + 1, step):
        x = _x(tick, end_s)
        lines += [
            f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{TOP + HEIGHT}" stroke="{GREY}" opacity="0.3"/>',
            f'<text x="{x}" y="{TOP + HEIGHT + 18}" text-anchor="middle" font-size="12">{tick}</text>',
        ]
    for percent in (0, 50, 100):
        y = _y(percent / 100)
        lines += [
            f'<line x1="{LEFT}" y1="{y}" x2="{LEFT + WIDTH}" y2="{y}" stroke="{GREY}" opacity="0.3"/>',
            f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" font-size="12">{percent} %</text>',
        ]
    lines.append(
        f'<text x="{LEFT + WIDTH / 2}" y="{TOP + HEIGHT + 38}" text-anchor="middle" '
        'font-size="12">seconds since the node died</text>'
    )
    return lines


def _bound(end_s: int) -> list[str]:
    x = _x(NODE_S, end_s)
    return [
        f'<line x1="{x}" y1="{TOP - 4}" x2="{x}" y2="{TOP + HEIGHT}" stroke="{MARK}" '
        'stroke-width="2" stroke-dasharray="5 3"/>',
        f'<text x="{x}" y="{TOP - 9}" text-anchor="middle" font-size="12">promised for 99 %</text>',
    ]


def _line(row: dict[str, Any], colour: str, number: int, end_s: int) -> list[str]:
    took = row["took_s"]
    points = [f"{_x(0, end_s)},{_y(0)}"]
    for rank, seconds in enumerate(took):
        x = _x(seconds, end_s)
        points += [f"{x},{_y(rank / len(took))}", f"{x},{_y((rank + 1) / len(took))}"]
    left, top = LEFT + (number % 2) * 310, TOP + HEIGHT + 60 + 20 * (number // 2)
    said = f"{row['contract']}, {row['way']}: p99 {row['p99_s']:g} s of {len(took)}"
    return [
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="2"/>',
        f'<rect x="{left}" y="{top}" width="14" height="10" rx="2" fill="{colour}"/>',
        f'<text x="{left + 20}" y="{top + 10}">{escape(said)}</text>',
    ]
