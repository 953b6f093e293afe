"""Configuration as tables and readable differences. Pure."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from farshore_center.cli.cells import NOTHING, age, clean, count, counted, scalar, span
from farshore_center.cli.tables import Cell, Sheet, left, right, state, whole

VALUE_CHARS = 80
NODES_SHOWN = 8
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


def value(found: Any) -> str:
    """A value in one short line, as JSON."""
    text = clean(json.dumps(found, ensure_ascii=False, separators=(",", ":")))
    return text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - 1] + "…"


def named(nodes: Sequence[str], number: int) -> str:
    shown = ", ".join(clean(node) for node in nodes[:NODES_SHOWN])
    more = number - min(len(nodes), NODES_SHOWN)
    return f"{shown} and {count(more)} more" if more > 0 else shown


def change_line(change: Mapping[str, Any]) -> Cell:
    sign, style = _SIGNS.get(change["kind"], ("?", ""))
    before, after = value(change["before"]), value(change["after"])
    if change["kind"] == "changed":
        text = f"{before} → {after}"
    else:
        text = after if change["kind"] == "added" else before
    return Cell(f"  {sign} {clean(change['path']) or '/'}  {text}", style)


def difference_lines(items: Sequence[Mapping[str, Any]]) -> Iterator[Cell]:
    """Groups of nodes, each with what changes there."""
    for item in items:
        yield Cell(
            f"{counted(item['count'], 'node')}: {named(item['nodes'], item['count'])}", "bold"
        )
        for change in item["changes"]:
            yield change_line(change)
        if item.get("left_out"):
            yield Cell(f"  … and {count(item['left_out'])} changes more", "dim")


def fault_lines(faults: Sequence[Mapping[str, Any]]) -> Iterator[Cell]:
    for fault in faults:
        where = clean(fault["path"]) or "/"
        yield Cell(f"  ! {where}  {clean(fault['message'])}", "red")
        yield Cell(f"      at {named(fault['nodes'], fault['count'])}")


def explain_sheet(found: Mapping[str, Any]) -> Sheet:
    """Each value, the layer that it is from, and who wrote that."""
    sheet = Sheet(columns=left("path", "value", "from", "author", "message"))
    heads = {each["layer"]: each for each in found["layers"]}
    for path, origin in found["origin"].items():
        head = heads.get(origin, {})
        text = value(follow(found["config"], path))
        sheet.add(clean(path), text, *_whom(origin, head))
    for path, origin in found["removed"].items():
        sheet.add(clean(path), Cell("(removed)", "dim"), *_whom(origin, heads.get(origin, {})))
    return sheet


def _whom(origin: str, head: Mapping[str, Any]) -> tuple[str, str, str]:
    return clean(origin), scalar(head.get("author")), scalar(head.get("message"))


def standing(found: Mapping[str, Any], now_ms: int) -> Iterator[str]:
    """How far the node is with it, where it is not there, why not, and whether an override stands."""
    reported = found.get("reported") or {}
    text = f"{clean(found['state'])}, revision {count(found['rev']) if found['rev'] else 'none'}"
    running = reported.get("running_rev")
    if running is not None and running != found["rev"]:
        text += f"; revision {count(running)} runs" if running else "; none runs"
    yield text
    if (why := remark(reported)) != NOTHING:
        yield f"  {why}"
    if (who := override_text(reported, now_ms)) != NOTHING:
        yield f"override: {who}"


def follow(config: Any, pointer: str) -> Any:
    """The value that a JSON pointer shows; the center has made both."""
    for step in pointer.split("/")[1:]:
        config = config.get(step.replace("~1", "/").replace("~0", "~"))
    return config


def revisions_sheet(items: Sequence[Mapping[str, Any]], now_ms: int) -> Sheet:
    sheet = Sheet(columns=[*right("rev", "ago"), *left("author", "what", "message")])
    for item in items:
        sheet.add(
            count(item["rev"]),
            age(item.get("at"), now_ms),
            scalar(item.get("author")),
            "deleted" if item.get("deleted") else clean(item["digest"].partition(":")[2][:12]),
            scalar(item.get("message")),
        )
    return sheet


def status_sheet(items: Sequence[Mapping[str, Any]], now_ms: int) -> Sheet:
    columns = [*left("name", "group"), *whole("state"), *right("desired", "reported")]
    sheet = Sheet(columns=[*columns, *left("override", "remark")])
    for item in items:
        config = item.get("config") or {}
        sheet.add(
            clean(item["name"]),
            clean(item.get("group") or NOTHING),
            state(clean(config.get("state") or "none")),
            count(config.get("desired_rev")),
            count(config.get("reported_rev")),
            override_text(config, now_ms),
            remark(config),
        )
    return sheet


def override_text(config: Mapping[str, Any], now_ms: int) -> str:
    """Whose it is, and how long it stands."""
    override = config.get("override")
    if not override:
        return NOTHING
    ends_ms = override.get("expires_ms")
    if ends_ms is None:
        return f"{scalar(override.get('author'))}, without an end"
    left = span((ends_ms - now_ms) / 1000) + " left" if ends_ms > now_ms else "its time is over"
    return f"{scalar(override.get('author'))}, {left}"


def remark(config: Mapping[str, Any]) -> str:
    """Why it is not as it should be, shortly."""
    error = config.get("error")
    if error:
        where = f" at {clean(error['path'])}" if error.get("path") else ""
        return f"{clean(error.get('code') or '')}{where}: {clean(error.get('message') or '')}"
    differences = config.get("differences") or []
    if differences:
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        return f"{clean(differences[0].get('path') or '/')} differs{more}"
    return NOTHING


def status_tally(items: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for item in items:
        name = (item.get("config") or {}).get("state") or "none"
        counts[name] = counts.get(name, 0) + 1
    states = ", ".join(f"{count(number)} {clean(name)}" for name, number in sorted(counts.items()))
    return f"{counted(len(items), 'node')}: {states or 'none'}"


def schemas_sheet(items: Sequence[Mapping[str, Any]], now_ms: int) -> Sheet:
    sheet = Sheet(columns=[*left("document"), *right("rev", "ago"), *left("author", "message")])
    for item in items:
        sheet.add(
            clean(item["document"]),
            "built in" if item.get("built_in") else count(item["rev"]),
            age(item.get("at"), now_ms),
            scalar(item.get("author")),
            scalar(item.get("message")),
        )
    return sheet
