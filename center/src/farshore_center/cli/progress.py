"""A command on its way to its targets, as the command line sees it. Pure.

The center's record is the truth; events only bring it nearer to now. ``with_event`` never takes a
target back from a final state, whatever arrives late or twice; the record alone may.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from farshore_center.cli.cells import NOTHING, clean, instant_ms, scalar, span
from farshore_center.cli.results import in_line

FEW = 8
"""Up to this many targets show each, below its line, all that it wrote and gave."""

Command = Mapping[str, Any]
Target = Mapping[str, Any]

SUCCEEDED = "succeeded"
FINAL = (SUCCEEDED, "failed", "timed_out", "cancelled", "interrupted", "rejected", "expired")
"""States of a target at which nothing more is awaited, as the API names them."""

_IN_ERROR = frozenset({"exit_code", "signal"})
"""Parts of a result that the message of an error says already."""


def targets_of(command: Command) -> Sequence[Target]:
    return command.get("targets") or ()


def is_final(target: Target) -> bool:
    return target["state"] in FINAL


def is_done(command: Command) -> bool:
    """Whether nothing more will happen: what the center says, or what its targets say."""
    targets = targets_of(command)
    return bool(command.get("done")) or (bool(targets) and all(is_final(t) for t in targets))


def all_succeeded(command: Command) -> bool:
    """Of none, too: who gave a command to nobody has said that this is meant."""
    return all(target["state"] == SUCCEEDED for target in targets_of(command))


def with_events(command: Command, events: Sequence[Mapping[str, Any]]) -> Command:
    """The command after its ``command.target`` events; any other event changes nothing."""
    news: dict[Any, list[Mapping[str, Any]]] = {}
    for event in events:
        if event.get("kind") == "command.target" and event.get("command") == command["id"]:
            news.setdefault(event.get("node"), []).append(event)
    if not news:
        return command
    targets = [
        reduce(_moved, news.get(target["node"], ()), target) for target in targets_of(command)
    ]
    return {**command, "targets": targets, "summary": summary_of(targets)}


def _moved(target: Target, event: Mapping[str, Any]) -> Target:
    data = event.get("data") or {}
    state = data.get("state") or target["state"]
    if is_final(target) and state not in FINAL:
        return target
    return {
        **target,
        "state": state,
        "reason": data.get("reason")
        or (None if state != target["state"] else target.get("reason")),
        "updated_at": event.get("at") or target.get("updated_at"),
        "result": data.get("result") or target.get("result"),
        "error": data.get("error") or target.get("error"),
        "output": _joined(target.get("output") or (), data.get("output") or ()),
    }


def _joined(had: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Chunks of output, each (stream, offset) once, in the order of their offsets."""
    chunks = {(c.get("stream"), c.get("offset")): c for c in (*had, *new)}
    return sorted(chunks.values(), key=lambda c: c.get("offset") or 0)


def summary_of(targets: Sequence[Target]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for target in targets:
        counts[target["state"]] = counts.get(target["state"], 0) + 1
    return counts


def summary_text(summary: Mapping[str, int]) -> str:
    """``3 succeeded, 1 queued``; the most frequent first."""
    ordered = sorted(summary.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{number:,} {clean(state)}" for state, number in ordered) or NOTHING


def output_of(target: Target, stream: str | None = None) -> str:
    """What the node's program wrote, of one stream or of both."""
    chunks = _joined((), target.get("output") or ())
    return "".join(c.get("text", "") for c in chunks if stream in (None, c.get("stream")))


def first_line(target: Target, *, brief: bool = False) -> str:
    """The one line that says most: the error, what was written, the result, the reason.

    ``brief``: of the result only what needs no room of its own, since the rest is shown below.
    """
    result = _result(target, brief=brief)
    said = [_error(target), _first(output_of(target)), result, _reason(target)]
    parts = [part for part in said if part]
    if is_final(target) and target["state"] != SUCCEEDED:
        return ": ".join(dict.fromkeys(parts[:2])) or NOTHING
    return parts[0] if parts else NOTHING


def why(target: Target) -> str:
    """The error or the reason alone, without what was written."""
    return _error(target) or _reason(target)


def cut(target: Target) -> str:
    """How much of what it wrote was left out, as a sentence; empty: nothing."""
    number = (target.get("result") or {}).get("output_cut_bytes")
    return (
        f"{number:,} bytes of its output were left out"
        if isinstance(number, int) and number
        else ""
    )


def says_now(command: Command, target: Target, now_ms: int) -> str:
    """As ``first_line``; of a target that is under way, what it waits for and until when."""
    if is_final(target):
        return first_line(target, brief=len(targets_of(command)) <= FEW)
    if target.get("cancelling"):
        return "asked to end it"
    if target["state"] == "received":
        ahead = (target.get("result") or {}).get("ahead")
        return f"waits at the node, {ahead} ahead" if ahead else "waits at the node"
    if target["state"] not in ("queued", "sent"):
        return first_line(target)
    held = _reason(target) if target.get("held") else ""
    until_ms = instant_ms(command.get("expires_at"))
    left = "" if until_ms is None else f"expires in {span(max(0, until_ms - now_ms) / 1000)}"
    return "; ".join(part for part in (held or "no word from the node yet", left) if part)


def _error(target: Target) -> str:
    error = target.get("error") or {}
    exit_code = (target.get("result") or {}).get("exit_code")
    text = clean(str(error.get("message") or error.get("code") or ""))
    return text or (f"exit code {exit_code}" if exit_code else "")


def _first(text: str) -> str:
    return next((clean(line.strip()) for line in text.splitlines() if line.strip()), "")


def _result(target: Target, *, brief: bool) -> str:
    result = target.get("result")
    if not result:
        return ""
    if isinstance(result.get("summary"), str) and result["summary"]:
        return clean(result["summary"])
    said_already = _IN_ERROR if target.get("error") else frozenset[str]()
    known = {k: v for k, v in result.items() if k not in said_already}
    told = {k: v for k, v in known.items() if v is not None} or known
    show = in_line if brief else scalar
    return " ".join(f"{clean(k)}={show(v)}" for k, v in told.items())


def _reason(target: Target) -> str:
    return clean(str(target.get("reason") or ""))
