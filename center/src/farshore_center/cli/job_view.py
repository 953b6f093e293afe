"""A job as a person looks at it: waves as bars, what became of the nodes, why it stands, what is next.

Pure: lines of a width. ``farshore job show`` prints them, ``watch`` draws them again and again.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from farshore_center.cli.cells import NOTHING, age, clean, counted, instant_ms, scalar, span, took
from farshore_center.cli.gather import Answer, heading
from farshore_center.cli.job_waves import OVER, Job, wave_lines, without
from farshore_center.cli.screen import Line, cut, wrapped
from farshore_center.cli.tables import STATE_STYLES, Cell, state

Verdict = Mapping[str, Any]
"""Of one gate: `holds`, `detail`, `at`."""

UNTOUCHED = ("waiting", "left")
FEW_WAVES = 12
"""More than these are put together at both ends of where the job is."""

_INDENT = "           "
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


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
    cron = (job.get("start") or {}).get("cron")
    kind = ", following" if job.get("following") else ""
    nodes = "as of each run" if cron else f"{counted(job['total'], 'node')}{kind}"
    again = f"{clean(cron)} ({clean(job['start']['timezone'])})" if cron else ""
    who = f"by {clean(job.get('author') or NOTHING)}, {age(job.get('created_at'), now_ms)} ago"
    message = clean(job.get("message") or "")
    return [
        [Cell(clean(job["name"]), "bold"), f"  {clean(job['id'])}  ", state(clean(job["state"]))],
        *_field("does", what(job), width),
        *_field("to", f"{clean(job['selector'])} ({nodes})", width),
        *_field("runs", again, width),
        *_field("rules", rules_text(job["rules"]), width),
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


def rules_text(rules: Mapping[str, Any]) -> str:
    """The rules that say something, in the order in which a wave meets them."""
    waves, success = rules.get("waves") or {}, rules.get("success") or {}
    factor = waves.get("factor", 1)
    said = [
        "waves " + ", ".join(map(str, waves.get("sizes") or ("100%",)))
        + (f", then each x{factor:g}" if factor != 1 else ""),
        *(f"window {each['cron']} for {span(each['duration_s'])}" for each in rules["windows"]),
        f"at most {rules['at_once']:,} at once",
        *([f"{rules['at_once_per_group']:,} a group"] if rules["at_once_per_group"] else ()),
        *(f"{each['most']} disrupted in {each['group'] or 'all'}" for each in rules["budgets"]),
        f"{success.get('percent', 100):g}% must succeed",
        *([f"{rules['retries']} retries"] if rules["retries"] else ()),
        *([f"soak {span(rules['soak_s'])}"] if rules["soak_s"] else ()),
        *(f"gate {gate_text(each)}" for each in rules["gates"]),
        *(["approval"] if rules["approval"] else ()),
    ]  # fmt: skip
    return clean("; ".join(said))


def gate_text(gate: Mapping[str, Any]) -> str:
    if "selector" in gate:
        share = gate.get("percent", 100)
        return str(gate["selector"]) if share == 100 else f"{share:g}% {gate['selector']}"
    plus = gate.get("plus", 0)
    more = f" {'-' if plus < 0 else '+'} {abs(plus):g}" if plus else ""
    return f"{gate['series']} {gate['op']} {gate.get('factor', 1):g}x{more}"


# Why, what next


def _outcome(job: Job, now_ms: int, width: int) -> list[Line]:
    lines: list[Line] = []
    if job.get("ended_at"):
        length = took(job.get("started_at"), instant_ms(job["ended_at"]))
        lines += _field("ended", f"{when(job['ended_at'], now_ms)}, after {length}", width)
    for gate, verdict in zip(job["rules"]["gates"], job.get("gates") or (), strict=False):
        lines += _gate(gate, verdict, now_ms, width)
    # What a job asks a person for, and why it runs, is said elsewhere.
    if job.get("reason") and job["state"] not in ("awaiting_approval", "running"):
        name = "stopped" if job["state"] == "halted" else "why"
        style = STATE_STYLES.get(job["state"], "")
        lines += _field(name, clean(job["reason"]), width, style)
    if job.get("waits_for"):
        lines += _field("waits for", timed(clean(job["waits_for"]), now_ms), width)
    coming = job.get("next")
    if coming and coming["at"] not in (job.get("waits_for") or ""):
        lines += _field("next", f"{clean(coming['what'])}, {when(coming['at'], now_ms)}", width)
    if job["state"] not in OVER:
        for name, field in (("next run", "next_at"), ("deadline", "deadline_at")):
            lines += _field(name, when(job[field], now_ms), width) if job.get(field) else []
    if job["state"] in ("halted", "aborted") and job["touched"]:
        lines += _field("stays", stays(job), width)
    if job.get("parent"):
        lines += _field("one run of", clean(job["parent"]), width)
    return lines


def _gate(gate: Mapping[str, Any], verdict: Verdict, now_ms: int, width: int) -> list[Line]:
    """How a gate was judged last."""
    holds = "holds" if verdict["holds"] else "is shut"
    said = f"{clean(gate_text(gate))} {holds}: {clean(verdict['detail'])}"
    said += f" ({age(verdict['at'], now_ms)} ago)"
    return _field("gate", said, width, "" if verdict["holds"] else "red")


def when(text: str, now_ms: int) -> str:
    """An instant, and how far it is."""
    at_ms = instant_ms(text)
    if at_ms is None:
        return clean(text)
    away = span(abs(at_ms - now_ms) / 1000)
    return f"{clean(text)} (in {away})" if at_ms >= now_ms else f"{clean(text)} ({away} ago)"


def timed(text: str, now_ms: int) -> str:
    """A sentence, with how far each instant in it is."""
    return _INSTANT.sub(lambda found: when(found[0], now_ms), text)


def stays(job: Job) -> str:
    """What a job that was stopped has done, and leaves as it is."""
    done = without(job["counts"], UNTOUCHED)
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
