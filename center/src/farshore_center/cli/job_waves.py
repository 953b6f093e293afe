"""The waves of a job as bars below each other. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from farshore_center.cli.bars import Part, bar, parts_of
from farshore_center.cli.cells import clean, instant_ms, span
from farshore_center.cli.run_panel import counts_line
from farshore_center.cli.screen import Line, columns, cut, width_of_line
from farshore_center.cli.tables import STATE_STYLES, Cell

Job = Mapping[str, Any]
Wave = Mapping[str, Any]

OVER = ("succeeded", "aborted", "rolled_back")
"""States of a job in which nothing more happens unless a person asks for a rollback."""

BAD = ("failed", "timed_out", "silent", "rejected", "interrupted", "cancelled", "undo_failed")
"""Ends of a node in a job that count against it."""

_NOT_ENDED = ("waiting", "active", "retrying", "undoing")
_LEAST_BAR, _GOOD_BAR, _MOST_BAR, _LEAST_NOTE = 12, 20, 50, 10


def wave_lines(job: Job, now_ms: int, width: int, at_most: int) -> list[Line]:
    """A bar for each wave and one for all of it, below each other."""
    waves = few(job["waves"], at_most)
    rows = [(_wave_name(each), each["counts"], _wave_size(each)) for each in waves]
    rows.append(("all", job["counts"], job["total"]))
    notes: list[Line] = [wave_note(job, each, now_ms) for each in waves]
    notes.append(_bad_first(job["counts"]))
    heads = columns([[name, _ended_of(counts, size)] for name, counts, size in rows], right=[1])
    head = max(map(width_of_line, heads))
    room = max(_LEAST_NOTE, width - head - _GOOD_BAR - 4)
    note = min(max(width_of_line(line) for line in notes), room)
    cells = min(_MOST_BAR, max(_LEAST_BAR, width - head - note - 4))
    return [
        [*line, "  ", *bar(_parts(counts, size), cells), "  ", *cut(text, note)]
        for line, (_, counts, size), text in zip(heads, rows, notes, strict=True)
    ]


def _bad_first(counts: Mapping[str, int]) -> Line:
    bad = {name: number for name, number in counts.items() if name in BAD and number}
    good = without(counts, ("waiting", *BAD))
    lines = [counts_line(each) for each in (bad, good) if each]
    return [*lines[0], ", ", *lines[1]] if len(lines) > 1 else [*(lines[0] if lines else ())]


def few(waves: Sequence[Wave], at_most: int) -> list[Wave]:
    """The waves around the one that is open; those before and behind it put together."""
    if len(waves) <= at_most:
        return list(waves)
    room = max(1, at_most - 2)
    here = sum(each["state"] == "ended" for each in waves)
    first = min(max(0, here - room // 2), len(waves) - room)
    before, shown, after = waves[:first], waves[first : first + room], waves[first + room :]
    return [*_together(before), *shown, *_together(after)]


def _together(waves: Sequence[Wave]) -> list[Wave]:
    if len(waves) < 2:
        return list(waves)
    counts: dict[str, int] = {}
    for wave in waves:
        for name, number in wave["counts"].items():
            counts[name] = counts.get(name, 0) + number
    nodes = sum(map(_wave_size, waves))
    return [{**waves[-1], "first": waves[0]["number"], "nodes": nodes, "counts": counts}]


def _wave_name(wave: Wave) -> str:
    first = wave.get("first", wave["number"])
    return f"wave {wave['number']}" if first == wave["number"] else f"{first}-{wave['number']}"


def _wave_size(wave: Wave) -> int:
    return int(wave["nodes"])


def _ended_of(counts: Mapping[str, int], size: int) -> str:
    ended = sum(number for name, number in counts.items() if name not in (*_NOT_ENDED, "left"))
    return f"{ended:,}/{size:,}"


def _parts(counts: Mapping[str, int], size: int) -> list[Part]:
    missing = size - sum(number for name, number in counts.items() if name != "left")
    known = without(counts, ("left",))
    return parts_of({**known, "waiting": known.get("waiting", 0) + max(0, missing)}, STATE_STYLES)


def without(counts: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number and name not in names}


def wave_note(job: Job, wave: Wave, now_ms: int) -> Line:
    """How far a wave is, with what is wrong with it."""
    bad = without(wave["counts"], [name for name in wave["counts"] if name not in BAD])
    words: list[str | Cell] = []
    if wave["state"] == "planned":
        return [Cell("planned", "dim")]
    if wave["state"] == "ended":
        left_ms = soak_left_ms(job, wave, now_ms)
        words.append(f"soaks for {span(left_ms / 1000)} more" if left_ms else "ended")
    else:
        words.append(_open_note(job, wave))
    for name, number in bad.items():
        words += [", ", Cell(f"{number:,} {clean(name)}", STATE_STYLES.get(name, ""))]
    if wave.get("approved_by"):
        words.append(f", approved by {clean(wave['approved_by'])}")
    return words


def _open_note(job: Job, wave: Wave) -> Cell:
    active = sum(wave["counts"].get(name, 0) for name in ("active", "retrying"))
    if active:
        return Cell(f"{active:,} under way", "yellow")
    stopped = job["state"] in (*OVER, "halted", "rolling_back")
    return Cell("stopped in it", "dim") if stopped else Cell("waits", "yellow")


def soak_left_ms(job: Job, wave: Wave, now_ms: int) -> int:
    """How long the job's last wave is watched still; 0: not at all."""
    until_ms = instant_ms(wave.get("soaks_until"))
    if job["state"] != "running" or wave["number"] != job["wave"] or until_ms is None:
        return 0
    return max(0, until_ms - now_ms)
