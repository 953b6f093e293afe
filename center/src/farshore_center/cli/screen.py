"""What a live view shows: lines of styled text, none wider than the screen. Pure.

The same lines are printed on a pipe, where they lose their colours, and compared in tests as they are.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from farshore_center.cli.tables import Cell, text_of, width_of

if TYPE_CHECKING:
    from rich.text import Text

Line = Sequence[str | Cell]

_GAP = "  "


def width_of_line(line: Line) -> int:
    return sum(width_of(text_of(piece)) for piece in line)


def cut(line: Line, width: int) -> Line:
    """The line, or its beginning and ``…``."""
    if width_of_line(line) <= width:
        return line
    kept: list[str | Cell] = []
    room = width - 1
    for piece in line:
        text = _fitting(text_of(piece), room)
        kept.append(Cell(text, piece.style) if isinstance(piece, Cell) else text)
        room -= width_of(text)
        if text != text_of(piece):
            break
    return [*kept, "…"]


def _fitting(text: str, width: int) -> str:
    while width_of(text) > width:
        text = text[:-1]
    return text


def columns(rows: Sequence[Line], right: Iterable[int] = ()) -> list[Line]:
    """Rows of the same number of cells below each other; ``right``: the columns of numbers."""
    if not rows:
        return []
    widths = [max(width_of(text_of(row[i])) for row in rows) for i in range(len(rows[0]))]
    numbers = frozenset(right)
    return [_aligned(row, widths, numbers) for row in rows]


def _aligned(row: Line, widths: Sequence[int], numbers: frozenset[int]) -> Line:
    line: list[str | Cell] = []
    for i, cell in enumerate(row):
        space = " " * (widths[i] - width_of(text_of(cell)))
        line += [space, cell] if i in numbers else [cell, space]
        line.append(_GAP)
    while line and not text_of(line[-1]).strip():
        line.pop()
    return line


def wrapped(text: str, width: int, style: str = "", indent: str = "") -> list[Line]:
    """A sentence over as many lines as it needs."""
    lines: list[Line] = []
    row = ""
    for word in text.split():
        if row and width_of(indent) + width_of(row) + 1 + width_of(word) > width:
            lines.append(cut([indent, Cell(row, style)], width))
            row = word
        else:
            row = f"{row} {word}" if row else word
    return [*lines, cut([indent, Cell(row, style)], width)] if row else lines


def plain(lines: Iterable[Line]) -> str:
    return "\n".join("".join(map(text_of, line)).rstrip() for line in lines)


def rich_text(lines: Sequence[Line]) -> "Text":
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop")
    for number, line in enumerate(lines):
        text.append("\n" if number else "")
        for piece in line:
            text.append(text_of(piece), piece.style if isinstance(piece, Cell) else None)
    return text
