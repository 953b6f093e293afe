"""The live picture of a command, however many its targets: one screen, never more. Pure.

Few targets stand there one by one. Of many, a bar and the counts tell how far it is; below them the
failures, those that failed alike in one line, and then those that take longest.
"""

import json
from collections.abc import Sequence

from farshore_center.cli.bars import bar, parts_of
from farshore_center.cli.cells import clean, counted, instant_ms, took
from farshore_center.cli.folding import shortened
from farshore_center.cli.gather import gathered
from farshore_center.cli.progress import (
    SUCCEEDED,
    Command,
    Target,
    first_line,
    is_final,
    says_now,
    targets_of,
)
from farshore_center.cli.screen import Line, columns, cut
from farshore_center.cli.tables import STATE_STYLES, Cell, state

HEAD_LINES = 6
"""Heading, bar, counts, an empty line, what was left out, the way out."""

_PROGRESS = ("running", "accepted", "received", "sent", "queued")
_FOLDED_WIDTH = 32


def duration(command: Command, target: Target, now_ms: int | None) -> str:
    """From the command's making to the target's end; to now while it has none."""
    end_ms = instant_ms(target.get("updated_at")) if is_final(target) else now_ms
    return took(command.get("created_at"), end_ms)


def panel(command: Command, now_ms: int, width: int, height: int, trouble: str = "") -> list[Line]:
    """At most ``height`` lines of at most ``width`` columns. ``trouble``: of the way to the center."""
    targets = targets_of(command)
    room = max(1, height - HEAD_LINES - bool(trouble))
    rows, left_out = _rows(command, targets, now_ms, room)
    lines: list[Line] = [
        _heading(command, len(targets), now_ms),
        _progress_bar(command, targets, width),
        counts_line(command.get("summary") or {}),
        [],
        *columns(rows, right=[2]),
    ]
    if left_out:
        lines.append([Cell(left_out, "dim")])
    if trouble:
        lines.append([Cell(trouble, "yellow")])
    lines.append([Cell("Ctrl-C detaches; the command goes on", "dim")])
    return [cut(line, width) for line in lines]


def _heading(command: Command, number: int, now_ms: int) -> Line:
    argv = (command.get("args") or {}).get("argv")
    what = " ".join(map(str, argv)) if isinstance(argv, list) else ""
    what = what or (json.dumps(command["args"]) if command.get("args") else "")
    verb = clean(f"{command['verb']} {what}".strip())
    since = took(command.get("created_at"), now_ms)
    return [Cell(verb, "bold"), f"  {clean(command['id'])}  {counted(number, 'target')}  {since}"]


def _progress_bar(command: Command, targets: Sequence[Target], width: int) -> Line:
    ended = f"{sum(map(is_final, targets)):,} of {len(targets):,}"
    blocks = bar(
        parts_of(command.get("summary") or {}, STATE_STYLES), max(1, width - len(ended) - 2)
    )
    return [*blocks, f"  {ended}"]


def counts_line(summary: dict[str, int]) -> Line:
    """``812 succeeded, 3 failed, 185 queued``, each in its colour."""
    line: list[str | Cell] = []
    for part in sorted(summary.items(), key=lambda item: (-item[1], item[0])):
        name, number = part
        line += [", "] if line else []
        line.append(Cell(f"{number:,} {clean(name)}", STATE_STYLES.get(name, "")))
    return line


def _rows(
    command: Command, targets: Sequence[Target], now_ms: int, room: int
) -> tuple[list[Line], str]:
    if len(targets) <= room:
        return [_target_row(command, each, now_ms) for each in targets], ""
    bad = [each for each in targets if is_final(each) and each["state"] != SUCCEEDED]
    open_ones = sorted((each for each in targets if not is_final(each)), key=_slowest_first)
    kinds = gathered(bad)
    for_bad = min(len(kinds), max(room // 2, room - len(open_ones)))
    shown = open_ones[: room - for_bad]
    rows = [_alike_row(command, bad, each.nodes) for each in kinds[:for_bad]]
    rows += [_target_row(command, each, now_ms) for each in shown]
    hidden = [
        (sum(len(each.nodes) for each in kinds[for_bad:]), "failed"),
        (len(open_ones) - len(shown), "under way"),
    ]
    told = [f"{number:,} more {what}" for number, what in hidden if number]
    return rows, ", ".join(told)


def _slowest_first(target: Target) -> tuple[int, str]:
    """Who works before who waits; of those, who said something longest ago."""
    name = target["state"]
    place = _PROGRESS.index(name) if name in _PROGRESS else len(_PROGRESS)
    return place, str(target.get("updated_at") or "")


def _target_row(command: Command, target: Target, now_ms: int) -> Line:
    return [
        clean(target["node"]),
        state(clean(target["state"])),
        duration(command, target, now_ms),
        says_now(command, target, now_ms),
    ]


def _alike_row(command: Command, targets: Sequence[Target], nodes: Sequence[str]) -> Line:
    first = next(each for each in targets if each["node"] == nodes[0])
    number = f"({len(nodes):,}) " if len(nodes) > 1 else ""
    return [
        number + shortened(nodes, _FOLDED_WIDTH),
        state(clean(first["state"])),
        duration(command, first, None),
        first_line(first),
    ]
