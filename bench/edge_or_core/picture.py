"""The picture: a dot for each job, by what it took at the edge and in the core, coloured by what was chosen;
between the lines both sides are within a tenth of each other. Beside it the sums. Pure."""

import math
from typing import Any
from xml.sax.saxutils import escape

from bench.edge_or_core.findings import TOLERANCE
from bench.edge_or_core.table import mean

LEFT, SIDE, TOP, BOTTOM = 70, 420, 70, 60
SUMS, BAR, ROW, RIGHT = 90, 220, 44, 90
EDGE, CORE, GREY, WRONG = "#2e9e5b", "#3f7fbf", "#808890", "#d1483f"
NAMES = {"auto": "chosen", "edge": "all edge", "core": "all core"}


def picture(report: dict[str, Any]) -> str:
    """The report as SVG."""
    jobs, sums = report["jobs"], report["totals"]
    times = [time for job in jobs for time in (mean(job["edge_s"]), mean(job["core_s"]))]
    low, high = bounds(times)
    width, height = LEFT + SIDE + SUMS + BAR + RIGHT, TOP + SIDE + BOTTOM
    title = "Edge or core: what a job took on each side, and what was chosen"
    right = sum(job["right"] for job in jobs)
    note = f"{report['date'][:10]} · {right} of {len(jobs)} within a tenth of the better side"
    return (
        "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif" '
                f'font-size="13" fill="{GREY}">',
                f"<title>{escape(title)}</title>",
                f'<text x="16" y="26" font-size="17" font-weight="600">{escape(title)}</text>',
                f'<text x="16" y="46" font-size="12">{escape(note)}</text>',
                *_axes(low, high),
                *(_dot(job, low, high) for job in jobs),
                *_legend(),
                *_sums(sums),
                "</svg>",
            ]
        )
        + "\n"
    )


def bounds(times: list[float]) -> tuple[float, float]:
    """Of both axes, which are logarithmic: everything that is shown lies between."""
    return min(times) / 1.2, max(times) * 1.2


def _at(seconds: float, low: float, high: float) -> float:
    return round(SIDE * math.log(seconds / low) / math.log(high / low), 1)


def _axes(low: float, high: float) -> list[str]:
    bottom, parts = TOP + SIDE, []
    for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50):
        if low < tick < high:
            at = _at(tick, low, high)
            x, y = round(LEFT + at, 1), round(bottom - at, 1)
            parts += [
                f'<path d="M{x} {TOP}V{bottom}M{LEFT} {y}H{LEFT + SIDE}" stroke="{GREY}" '
                'opacity="0.25"/>',
                f'<text x="{x}" y="{bottom + 18}" text-anchor="middle" font-size="12">{tick:g}</text>',
                f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end" font-size="12">{tick:g}</text>',
            ]
    shift = _at(low * (1 + TOLERANCE), low, high)
    parts += [
        f'<path d="M{LEFT} {bottom - shift}L{LEFT + SIDE - shift} {TOP}M{LEFT + shift} {bottom}'
        f'L{LEFT + SIDE} {TOP + shift}" stroke="{GREY}" stroke-dasharray="4 3" fill="none"/>',
        f'<text x="{LEFT + SIDE / 2}" y="{bottom + 42}" text-anchor="middle">seconds at the edge</text>',
        f'<text transform="translate(18 {TOP + SIDE / 2}) rotate(-90)" text-anchor="middle">'
        "seconds in the core</text>",
    ]
    return parts


def _dot(job: dict[str, Any], low: float, high: float) -> str:
    x = round(LEFT + _at(mean(job["edge_s"]), low, high), 1)
    y = round(TOP + SIDE - _at(mean(job["core_s"]), low, high), 1)
    colour = CORE if job["chosen"] == "core" else EDGE
    ring = "" if job["right"] else f' stroke="{WRONG}" stroke-width="3"'
    said = f"{job['kind']}, {job['bytes'] / 1e6:.2f} MB at {job['site']}: {job['chosen']}"
    return f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}"{ring}><title>{escape(said)}</title></circle>'


def _legend() -> list[str]:
    parts, x = [], LEFT + SIDE + 24
    for row, (word, colour, stroke) in enumerate(
        (
            ("the edge was chosen", EDGE, ""),
            ("the core was chosen", CORE, ""),
            ("more than a tenth slower than the other", "none", WRONG),
        )
    ):
        y = TOP + 14 + 24 * row
        edge = f' stroke="{stroke}" stroke-width="3"' if stroke else ""
        parts += [
            f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}"{edge}/>',
            f'<text x="{x + 14}" y="{y + 4}">{word}</text>',
        ]
    return parts


def _sums(sums: dict[str, float]) -> list[str]:
    top, left = TOP + 150, LEFT + SIDE + SUMS
    longest = max(sums[name] for name in NAMES)
    parts = [f'<text x="{left}" y="{top - 14}" font-weight="600">seconds in all</text>']
    for row, (name, word) in enumerate(NAMES.items()):
        y = top + ROW * row
        width = round(BAR * sums[name] / longest, 1)
        colour = {"edge": EDGE, "core": CORE}.get(name, GREY)
        parts += [
            f'<text x="{left - 8}" y="{y + 19}" text-anchor="end">{word}</text>',
            f'<rect x="{left}" y="{y + 4}" width="{width}" height="24" rx="2" fill="{colour}"/>',
            f'<text x="{left + width + 8}" y="{y + 21}" font-weight="600">{sums[name]:.0f} s</text>',
        ]
    return parts
