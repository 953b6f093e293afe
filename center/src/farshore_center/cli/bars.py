"""A whole in parts as one line of blocks: ``████████▒▒▒✗······``. Pure.

Each kind of part has a sign of its own, so that a bar can be read without its colours.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from farshore_center.cli.tables import Cell

DONE, BAD, BUSY, REST, OPEN = "█", "✗", "▒", "░", "·"
"""Succeeded; ended otherwise; under way; given back or left out; not begun."""


class Part(NamedTuple):
    number: int
    sign: str
    style: str = ""


def bar(parts: Sequence[Part], width: int) -> list[Cell]:
    """The parts in their order over ``width`` cells; the smallest part is still one cell.

    A part of many is never rounded to the whole: what is not complete does not look so.
    """
    shown = [part for part in parts if part.number > 0]
    total = sum(part.number for part in shown)
    if not total:
        return [Cell(OPEN * width, "dim")]
    cells = _cells([part.number for part in shown], total, width)
    return [
        Cell(part.sign * count, part.style)
        for part, count in zip(shown, cells, strict=True)
        if count
    ]


def _cells(numbers: Sequence[int], total: int, width: int) -> list[int]:
    """By the largest remainder, with at least one cell for each while there are enough."""
    exact = [number * width / total for number in numbers]
    least = 1 if width >= len(numbers) else 0
    cells = [max(least, int(share)) for share in exact]
    while sum(cells) < width:
        cells[max(range(len(cells)), key=lambda i: exact[i] - cells[i])] += 1
    while sum(cells) > width:
        able = [i for i in range(len(cells)) if cells[i] > least]
        cells[max(able, key=lambda i: cells[i] - exact[i])] -= 1
    return cells


SIGNS: Mapping[str, str] = {
    "succeeded": DONE,
    "failed": BAD,
    "timed_out": BAD,
    "silent": BAD,
    "rejected": BAD,
    "interrupted": BAD,
    "cancelled": BAD,
    "expired": BAD,
    "undo_failed": BAD,
    "received": BUSY,
    "accepted": BUSY,
    "running": BUSY,
    "active": BUSY,
    "retrying": BUSY,
    "undoing": BUSY,
    "undone": REST,
    "left": REST,
}
"""Of states; any other is open."""


def parts_of(summary: Mapping[str, int], styles: Mapping[str, str]) -> list[Part]:
    """Counts by state in the order of the signs, open ones last."""
    order = [*SIGNS, *(state for state in summary if state not in SIGNS)]
    return [
        Part(summary[state], SIGNS.get(state, OPEN), styles.get(state, ""))
        for state in order
        if summary.get(state)
    ]
