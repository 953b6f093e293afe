"""A job as a person looks at it: waves as bars, what became of the nodes, why it stands, what is next.

Pure: lines of a width. ``farshore job show`` prints them, ``watch`` draws them again and again.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from farshore_center.cli.bars import bar, parts_of
from farshore_center.cli.cells import NOTHING, age, clean, counted, instant_ms, scalar, span
from farshore_center.cli.gather import Answer, heading
from farshore_center.cli.run_panel import counts_line
from farshore_center.cli.screen import Line, columns, cut, wrapped
from farshore_center.cli.tables import STATE_STYLES, Cell, state

Job = Mapping[str, Any]
Wave = Mapping[str, Any]
JobNode = Mapping[str, Any]

OVER = ("succeeded", "aborted", "rolled_back")
"""States of a job in which nothing more happens unless a person asks for a rollback."""

BAD = ("failed", "timed_out", "silent", "rejected", "interrupted", "cancelled", "undo_failed")
"""Ends of a node in a job that count against it."""

UNTOUCHED = ("waiting", "left")
FEW_WAVES = 12
"""More than these are put together at both ends of where the job is."""

_NOT_ENDED = ("waiting", "active", "retrying", "undoing")
_LEAST_BAR, _MOST_BAR, _LEAST_NOTE = 12, 60, 10
_INDENT = "           "


def job_lines(
    job: Job,
    now_ms: int,
    width: int,
    *,
    failures: Sequence[Answer] = (),
    waves: int = FEW_WAVES,
    at: str = "",
) -> list[Line]:
    """The whole picture. ``waves``: at most so many lines of them; ``at``: as ``Session.at``."""
    lines: list[Line] = [*_heading(job, now_ms, width), []]
    if job.get("waves"):
        lines += [*wave_lines(job, now_ms, width, waves), []]
    lines += [*_outcome(job, now_ms, width), *_failed(failures, width)]
    # What can be typed stays whole, whatever the width.
    return [*(cut(line, width) for line in lines), *_ways_on(job, at)]


def _heading(job: Job, now_ms: int, width: int) -> list[Line]:
    kind = ", following" if job.get("following") else ""
    who = f"by {clean(job.get('author') or NOTHING)}, {age(job.get('created_at'), now_ms)} ago"
    message = clean(job.get("message") or "")
    return [
        [Cell(clean(job["name"]), "bold"), f"  {clean(job['id'])}  ", state(clean(job["state"]))],
        *_field("does", what(job), width),
        *_field("to", f"{clean(job['selector'])} ({counted(job['total'], 'node')}{kind})", width),
        *_field("made", f"{who}: {message}" if message else who, width),
    ]


def _field(name: str, text: str, width: int, style: str = "") -> list[Line]:
    """A name and a sentence that may need several lines below each other."""
    lines = wrapped(text, width, style, indent=_INDENT)
    if not lines:
        return []
    return [[Cell(name.ljust(len(_INDENT)), "dim"), *lines[0][1:]], *lines[1:]]


def what(job: Job) -> str:
    """What is done, in one line."""
    payload = job["payload"]
    if payload["kind"] == "config":
        patch = json.dumps(payload["patch"], ensure_ascii=False, separators=(",", ":"))
        return clean(f"configuration {patch}")
    undo = payload.get("undo")
    way_back = f"; undone by {_command(undo)}" if undo else ""
    return _command(payload) + way_back


def _command(payload: Mapping[str, Any]) -> str:
    args = payload.get("args") or {}
    argv = args.get("argv")
    words = [str(word) for word in argv] if isinstance(argv, list) else []
    others = [f"{key}={scalar(value)}" for key, value in args.items() if key != "argv" or not words]
    return clean(" ".join([payload["verb"], *others, *words]))


# Waves


def wave_lines(job: Job, now_ms: int, width: int, at_most: int) -> list[Line]:
    """A bar for each wave and one for all of it, below each other."""
    waves = few(job["waves"], at_most)
    rows = [(_wave_name(each), each["counts"], _wave_size(each)) for each in waves]
    rows.append(("all", job["counts"], job["total"]))
    notes: list[Line] = [wave_note(job, each, now_ms) for each in waves]
    notes.append(counts_line(_without(job["counts"], ("waiting",))))
    heads = columns([[name, _ended_of(counts, size)] for name, counts, size in rows], right=[1])
    head = max(sum(len(str(piece)) for piece in _texts(line)) for line in heads)
    note = min(max(_width(line) for line in notes), max(_LEAST_NOTE, width // 2 - head))
    cells = min(_MOST_BAR, max(_LEAST_BAR, width - head - note - 4))
    return [
        [*line, "  ", *bar(_parts(counts, size), cells), "  ", *text]
        for line, (_, counts, size), text in zip(heads, rows, notes, strict=True)
    ]


def _texts(line: Line) -> list[str]:
    return [piece.text if isinstance(piece, Cell) else piece for piece in line]


def _width(line: Line) -> int:
    return sum(map(len, _texts(line)))


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


def _parts(counts: Mapping[str, int], size: int) -> list[Any]:
    missing = size - sum(number for name, number in counts.items() if name != "left")
    known = _without(counts, ("left",))
    return parts_of({**known, "waiting": known.get("waiting", 0) + max(0, missing)}, STATE_STYLES)


def _without(counts: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number and name not in names}


def wave_note(job: Job, wave: Wave, now_ms: int) -> Line:
    """How far a wave is, with what is wrong with it."""
    bad = _without(wave["counts"], [name for name in wave["counts"] if name not in BAD])
    words: list[str | Cell] = []
    if wave["state"] == "planned":
        return [Cell("planned", "dim")]
    if wave["state"] == "ended":
        left_ms = soak_left_ms(job, wave, now_ms)
        words.append(f"soaks for {span(left_ms / 1000)} more" if left_ms else "ended")
    else:
        active = sum(wave["counts"].get(name, 0) for name in ("active", "retrying"))
        words.append(Cell(f"{active:,} under way" if active else "open", "yellow"))
    if wave.get("approved_by"):
        words.append(f", approved by {clean(wave['approved_by'])}")
    for name, number in bad.items():
        words += [", ", Cell(f"{number:,} {clean(name)}", STATE_STYLES.get(name, ""))]
    return words


def soak_left_ms(job: Job, wave: Wave, now_ms: int) -> int:
    """How long the job's last wave is watched still; 0: not at all."""
    ended_ms = instant_ms(wave.get("ended_at"))
    if job["state"] != "running" or wave["number"] != job["wave"] or ended_ms is None:
        return 0
    return max(0, ended_ms + round(float(job["rules"].get("soak_s") or 0) * 1000) - now_ms)


# Why, what next


def _outcome(job: Job, now_ms: int, width: int) -> list[Line]:
    lines: list[Line] = []
    if job.get("reason"):
        name = "why" if job["state"] in (*OVER, "paused") else "stopped"
        name = "asks" if job["state"] == "awaiting_approval" else name
        style = STATE_STYLES.get(job["state"], "")
        lines += _field(name, clean(job["reason"]), width, style)
    if job.get("waits_for"):
        lines += _field("waits for", clean(job["waits_for"]), width)
    for name, field in (
        ("starts", "starts_at"),
        ("next run", "next_at"),
        ("deadline", "deadline_at"),
    ):
        if job.get(field) and not (name == "starts" and job["state"] != "scheduled"):
            lines += [] if job["state"] in OVER else _field(name, when(job[field], now_ms), width)
    if job["state"] in ("halted", "aborted") and job["touched"]:
        lines += _field("stays", stays(job), width)
    if job.get("parent"):
        lines += _field("one run of", clean(job["parent"]), width)
    return lines


def when(text: str, now_ms: int) -> str:
    """An instant, and how far it is."""
    at_ms = instant_ms(text)
    if at_ms is None:
        return clean(text)
    away = span(abs(at_ms - now_ms) / 1000)
    return f"{clean(text)} (in {away})" if at_ms >= now_ms else f"{clean(text)} ({away} ago)"


def stays(job: Job) -> str:
    """What a job that was stopped has done, and leaves as it is."""
    done = _without(job["counts"], UNTOUCHED)
    told = ", ".join(f"{number:,} {clean(name)}" for name, number in done.items())
    untouched = job["total"] - job["touched"]
    return (
        f"{counted(job['touched'], 'node')} as touched ({told}); "
        f"{counted(untouched, 'node')} never touched"
    )


def _failed(failures: Sequence[Answer], width: int) -> list[Line]:
    lines: list[Line] = []
    for answer in failures:
        lines += wrapped(heading(answer), width, STATE_STYLES.get(answer.state, ""))
        if answer.says:
            lines += wrapped(answer.says, width, indent="    ")
    return lines


_WAYS = ("approve", "resume", "pause", "abort", "rollback")


def _ways_on(job: Job, at: str) -> list[Line]:
    """What a person can type, only where it is a person that the job waits for."""
    if job["state"] not in ("awaiting_approval", "paused", "halted", "aborted"):
        return []
    ways = [way for way in _WAYS if way in (job.get("can") or ())]
    prefix = f"farshore{at} job"
    texts = [f"{prefix} {way} {clean(job['id'])}" for way in ways]
    return [[Cell(("you can" if not i else "").ljust(len(_INDENT)), "dim"), text]
            for i, text in enumerate(texts)]  # fmt: skip
