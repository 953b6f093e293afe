"""Why an instance of a task is where it is, or nowhere, as the center stored it with the decision. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from farshore_center.cli.cells import NOTHING, age, clean, flat, scalar
from farshore_center.cli.screen import Line
from farshore_center.cli.tables import STATE_STYLES, Cell, Sheet, left, right

Explained = Mapping[str, Any]

NOWHERE = "none of "
"""So a reason begins that says the same as the filters' counts."""

FEW = 12
"""Candidates that are shown, the best first; ``--json`` has them all."""


def decision_lines(name: str, found: Explained, now_ms: int) -> list[Line]:
    """What was decided, when, by which policy; how many nodes each filter refused."""
    decision = clean(str(found.get("decision") or "not decided"))
    node = clean(found.get("node") or "")
    policy = f", policy {clean(found['policy'])}" if found.get("policy") else ""
    when = f"{age(found.get('decided_at'), now_ms)} ago{policy}"
    where = f" on {node}" if node else ""
    lines: list[Line] = [
        [
            Cell(f"{clean(name)}/{found['instance']}", "bold"),
            "  ",
            Cell(decision, STATE_STYLES.get(decision, "")),
            where,
            Cell(f"  {when}", "dim"),
        ]
    ]
    if found.get("reason"):
        lines.append([f"  {clean(found['reason'])}"])
    lines += [[f"  {text}"] for text in moved_texts(found)]
    refused = found.get("rejected") or {}
    if refused and NOWHERE not in (found.get("reason") or ""):
        lines.append([f"  refused: {rejected_text(refused)}"])
    if found.get("scores"):
        lines.append([f"  scores: {scores_text(found['scores'])}"])
    lines += [[f"  {text}"] for text in waits_texts(found.get("waits"))]
    told = estimates(found.get("estimate"))
    if told:
        lines.append([Cell(f"  estimates: {', '.join(told)}", "dim")])
    lines += [[Cell(f"  {link_text(each, now_ms)}", "dim")] for each in found.get("links") or ()]
    return lines


def moved_texts(found: Explained) -> Iterator[str]:
    """Who gave way for it, and for whom it gave way before."""
    pushed = [
        f"{clean(each['task'])}/{each['instance']} (priority {each['priority']})"
        for each in found.get("pushed_out") or ()
    ]
    if pushed:
        yield f"for it gave way: {', '.join(pushed)}"
    before = found.get("gave_way")
    if before:
        yield (
            f"before, {clean(before['decision'])} on {clean(before.get('from') or '?')}: "
            f"{clean(before.get('reason') or '')}"
        )


def waits_texts(waits: Mapping[str, Any] | None) -> Iterator[str]:
    """What the wait for a node that is full was reckoned from, and what to go at once."""
    if not waits:
        return
    ahead = waits.get("ahead") or 0
    before = f", {ahead} before it" if ahead else ""
    yield f"if it waits for {clean(waits['node'])}{before}: {', '.join(estimates(waits['estimate']))}"
    if waits.get("instead"):
        told = ", ".join(estimates(waits["instead_estimate"]))
        yield f"if it goes to {clean(waits['instead'])} now: {told}"


def estimates(figures: Any) -> list[str]:
    """``run 12.3 s (measured)``: each number with where it comes from."""
    if not isinstance(figures, list):
        return [f"{clean(path)} {number(value)}" for path, value in flat(figures or {}).items()]
    return [
        clean(f"{each['name']} {number(each.get('value'))} {each.get('unit', '')}".rstrip())
        + f" ({clean(str(each.get('origin', 'unknown')))})"
        for each in figures
    ]


def link_text(link: Mapping[str, Any], now_ms: int) -> str:
    """``link of cam-1: up 1.2 MB/s, down 8 MB/s, round trip 40 ms; measured 3h ago``."""
    up, down = (rate_text(link.get(f"{way}_bytes_s")) for way in ("up", "down"))
    trip = link.get("round_trip_s")
    trip_text = "" if trip is None else f", round trip {trip * 1000:.3g} ms"
    at = link.get("measured_at")
    when = "assumed, it was never measured" if at is None else f"measured {age(at, now_ms)} ago"
    return f"link of {clean(link['node'])}: up {up}, down {down}{trip_text}; {when}"


def rate_text(bytes_s: Any) -> str:
    if not isinstance(bytes_s, int | float):
        return NOTHING
    for unit, size in (("GB/s", 1e9), ("MB/s", 1e6), ("kB/s", 1e3)):
        if bytes_s >= size:
            return f"{bytes_s / size:.3g} {unit}"
    return f"{bytes_s:.3g} B/s"


def rejected_text(refused: Mapping[str, int]) -> str:
    """``selector 1,100 nodes, cpu 80, driver 1``; the most first."""
    ordered = sorted(refused.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{clean(name)} {nodes:,}" for name, nodes in ordered)


def scores_text(scores: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(part)} {number(value)}" for part, value in scores.items())


def candidates_sheet(items: Sequence[Mapping[str, Any]], at_most: int = FEW) -> Sheet:
    """The nodes that were looked at: those with a score first, the best of them on top."""
    ordered = sorted(
        items,
        key=lambda each: (refused(each), -(each.get("score") or 0), str(each["node"])),
    )
    parts = list(dict.fromkeys(part for each in ordered for part in each.get("parts") or {}))
    sheet = Sheet(
        columns=[*left("node"), *right("score", *map(clean, parts)), *left("why")],
    )
    for each in ordered[:at_most]:
        own = each.get("parts") or {}
        sheet.add(
            clean(each["node"]),
            number(each.get("score")),
            *(number(own.get(part)) for part in parts),
            clean(each.get("why") or NOTHING),
        )
    return sheet


def refused(each: Mapping[str, Any]) -> bool:
    """Whether a filter left it out; one without a score was not looked at."""
    return bool(each.get("filter")) or each.get("score") is None


def number(value: Any) -> str:
    """Scores and estimates with three digits, anything else as it is."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return scalar(value)
