"""One table, two faces: aligned plain text for a pipe, a rich table for a terminal. Pure.

On a pipe nothing is cut, padded at the end or coloured; on a terminal long cells fold.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.table import Table

STATE_STYLES = {
    "online": "green",
    "offline": "red",
    "queued": "dim",
    "sent": "dim",
    "received": "cyan",
    "accepted": "cyan",
    "running": "yellow",
    "succeeded": "green",
    "failed": "red",
    "timed_out": "red",
    "rejected": "red",
    "interrupted": "magenta",
    "cancelled": "magenta",
    "expired": "magenta",
    "pending": "yellow",
    "applied": "green",
    "drifted": "magenta",
    "rolled_back": "red",
    "ahead": "magenta",
    "scheduled": "cyan",
    "awaiting_approval": "yellow",
    "paused": "yellow",
    "halted": "red",
    "aborted": "magenta",
    "rolling_back": "yellow",
    "active": "yellow",
    "retrying": "yellow",
    "silent": "red",
    "left": "dim",
    "waiting": "dim",
    "undoing": "yellow",
    "undone": "magenta",
    "undo_failed": "red",
    "preparing": "cyan",
    "starting": "cyan",
    "granted": "cyan",
    "backing_off": "magenta",
    "stopping": "yellow",
    "stopped": "dim",
    "lost": "red",
    "withdrawn": "dim",
    "degraded": "magenta",
    "done": "green",
    "deleting": "yellow",
    "placed": "green",
    "preempted": "magenta",
}


class Cell(NamedTuple):
    text: str
    style: str = ""


def state(name: str) -> Cell:
    """A state in its colour; one that is not known yet has none."""
    return Cell(name, STATE_STYLES.get(name, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    title: str
    right: bool = False
    whole: bool = False
    """Keeps its width on a narrow terminal; the others are broken over lines before it."""


def left(*titles: str) -> list[Column]:
    return [Column(title=title) for title in titles]


def right(*titles: str) -> list[Column]:
    """Numbers: half a number would be a wrong one."""
    return [Column(title=title, right=True, whole=True) for title in titles]


def whole(*titles: str) -> list[Column]:
    return [Column(title=title, whole=True) for title in titles]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A table without a face; cells are clean texts already."""

    columns: Sequence[Column]
    rows: list[Sequence[str | Cell]] = field(default_factory=list)

    def add(self, *cells: str | Cell) -> None:
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(cells)


def text_of(cell: str | Cell) -> str:
    return cell.text if isinstance(cell, Cell) else cell


def width_of(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def plain(sheet: Sheet) -> str:
    """The table as text: two spaces between columns, none at the end of a line."""
    lines = [[column.title.upper() for column in sheet.columns]]
    lines += [[text_of(cell) for cell in row] for row in sheet.rows]
    widths = [max(width_of(line[i]) for line in lines) for i in range(len(sheet.columns))]
    return "\n".join(plain_line(sheet.columns, line, widths) for line in lines)


def plain_line(columns: Sequence[Column], texts: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, text, width in zip(columns, texts, widths, strict=True):
        space = " " * max(0, width - width_of(text))
        padded.append(space + text if column.right else text + space)
    return "  ".join(padded).rstrip()


def rich_table(sheet: Sheet) -> "Table":
    """The table for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for column in sheet.columns:
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="fold",
            no_wrap=column.whole,
        )
    for row in sheet.rows:
        # Text, not str: square brackets in a cell are no markup.
        table.add_row(*(Text(text_of(cell), style=_style(cell)) for cell in row))
    return table


def _style(cell: str | Cell) -> str:
    return cell.style if isinstance(cell, Cell) else ""
