"""The picture: a bar for each policy and trace, the paper's figure as a line across it. Pure.

The axis begins where the differences are, and says so. Colours that are legible on white and on black; no
background.
"""

import math
from typing import Any
from xml.sax.saxutils import escape

LEFT, BAR, RIGHT = 190, 520, 150
TOP, ROW, GAP, BOTTOM = 66, 28, 34, 56
OWN, KNOWN, GREY, MARK = "#2e9e5b", "#3f7fbf", "#808890", "#d1483f"


def picture(report: dict[str, Any]) -> str:
    """The report as SVG."""
    rows = report["placement"]
    low = axis_start([row["mean_pct"] for row in rows] + [row["paper_pct"] or 100 for row in rows])
    names = list(dict.fromkeys(row["trace"] for row in rows))
    bottom = TOP + sum(ROW for _ in rows) + GAP * len(names)
    width, height = LEFT + BAR + RIGHT, bottom + BOTTOM
    title = "Share of all GPUs allocated"
    place = f"{report['date'][:10]} · mean of {len(rows[0]['runs_pct'])} runs · red line: the paper"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif" '
        f'font-size="13" fill="{GREY}">',
        f"<title>{escape(title)}</title>",
        f'<text x="16" y="26" font-size="17" font-weight="600">{escape(title)}</text>',
        f'<text x="16" y="46" font-size="12">{escape(place)}</text>',
        *_axis(low, bottom),
    ]
    top = TOP
    for name in names:
        parts.append(f'<text x="16" y="{top + 20}" font-weight="600">{escape(name)}</text>')
        top += GAP
        for row in rows:
            if row["trace"] == name:
                parts += _bar(row, top, low)
                top += ROW
    return "\n".join([*parts, "</svg>"]) + "\n"


def axis_start(percents: list[float]) -> int:
    """A multiple of five below everything that is shown."""
    return max(0, 5 * math.floor((min(percents) - 2) / 5))


def _x(percent: float, low: int) -> float:
    return round(LEFT + BAR * (percent - low) / (100 - low), 1)


def _axis(low: int, bottom: int) -> list[str]:
    lines = []
    step = 1 if low >= 85 else 5 if low >= 50 else 20
    for tick in range(low, 101, step):
        x = _x(tick, low)
        lines += [
            f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{bottom}" stroke="{GREY}" opacity="0.3"/>',
            f'<text x="{x}" y="{bottom + 18}" text-anchor="middle" font-size="12">{tick}</text>',
        ]
    lines.append(
        f'<text x="{LEFT + BAR / 2}" y="{bottom + 40}" text-anchor="middle" font-size="12">'
        f"percent; the axis begins at {low}</text>"
    )
    return lines


def _bar(row: dict[str, Any], top: int, low: int) -> list[str]:
    end, paper = _x(row["mean_pct"], low), row["paper_pct"]
    parts = [
        f'<text x="{LEFT - 10}" y="{top + 18}" text-anchor="end">{escape(row["policy"])}</text>',
        f'<rect x="{LEFT}" y="{top + 4}" width="{max(1.0, round(end - LEFT, 1))}" '
        f'height="{ROW - 8}" rx="2" fill="{OWN if row["policy"] == "default" else KNOWN}"/>',
        f'<text x="{LEFT + BAR + 10}" y="{top + 18}" font-weight="600">{row["mean_pct"]:.2f} %</text>',
    ]
    if paper is not None:
        x = _x(paper, low)
        parts.append(
            f'<line x1="{x}" y1="{top}" x2="{x}" y2="{top + ROW - 2}" stroke="{MARK}" '
            'stroke-width="2"/>'
        )
    return parts
