"""What a verb gave, as tables and blocks of text, where one line can't hold it. Pure.

A result is whatever the verb answers: rows (``processes``), named rows (``verbs``), trees (``facts``),
the text of a file. A verb that sums itself up (``summary``) has said what a person wants to know.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from farshore_center.cli.cells import block, clean, flat, scalar
from farshore_center.cli.tables import Column, Sheet, left, right

LONG = 120
"""A text with more characters stands below the line, not in it."""

_WIDE = 30
"""A column with longer cells comes last: what stands behind it would be out of sight."""

Detail = tuple[str, Sheet | str]


def in_line(value: Any) -> str:
    """A value in one line; ``…`` for one that ``details`` shows."""
    return "…" if _needs_room(value) else scalar(value)


def details(result: Mapping[str, Any] | None) -> list[Detail]:
    """What has no room in a line, each with its name: a table, or a text of several lines."""
    if not result or result.get("summary"):
        return []
    found: list[Detail] = []
    trees: dict[str, Any] = {}
    for name, value in result.items():
        if not _needs_room(value):
            continue
        if isinstance(value, str):
            found.append((clean(name), block(value).removesuffix("\n")))
        elif isinstance(value, list):
            found.append((clean(name), _rows(value)))
        elif all(isinstance(each, Mapping) for each in value.values()):
            found.append((clean(name), _rows([{"": key, **row} for key, row in value.items()])))
        else:
            trees[name] = value
    if trees:
        found.insert(0, ("result", _leaves(trees)))
    return found


def _needs_room(value: Any) -> bool:
    if isinstance(value, str):
        return "\n" in value or len(value) > LONG
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, Mapping) for each in value)
    return isinstance(value, Mapping) and bool(value)


def _leaves(trees: Mapping[str, Any]) -> Sheet:
    sheet = Sheet(columns=left("what", "value"))
    for path, value in flat(trees).items():
        sheet.add(clean(path), scalar(value))
    return sheet


def _rows(rows: Sequence[Mapping[str, Any]]) -> Sheet:
    names = list(dict.fromkeys(name for row in rows for name in row))
    names.sort(key=lambda name: max(len(scalar(row.get(name))) for row in rows) > _WIDE)
    sheet = Sheet(columns=[_column(name, [row.get(name) for row in rows]) for name in names])
    for row in rows:
        sheet.add(*(scalar(row.get(name)) for name in names))
    return sheet


def _column(name: str, values: Sequence[Any]) -> Column:
    numbers = all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values if v is not None
    )
    return (right if numbers else left)(clean(name) or "name")[0]
