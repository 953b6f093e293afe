"""What a person says of a new job, as the body that the API takes. Pure but for the clock's time.

A file has the body itself; options are laid upon it, field by field. What the center refuses, it
names by the field; here is refused only what can't be read at all.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from farshore_center.cli.arguments import arguments
from farshore_center.cli.cells import clean, instant_ms, instant_text, parse_duration
from farshore_center.cli.commands import address, is_selector, named_nodes
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.job_options import JobOptions

MAX_NAME = 200

_GATE_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%\s+(\S.*)", re.DOTALL)
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_METRIC_GATE = re.compile(
    rf"(?P<series>\S+)\s*(?P<op><=|>=)\s*(?P<factor>{_NUMBER})?\s*[x×*]"
    rf"\s*(?:(?P<sign>[-+])\s*(?P<plus>{_NUMBER}))?"
)
_WINDOW = re.compile(r"(?P<cron>\S.*\S)\s+for\s+(?P<duration>\S+)")


def job_body(
    options: JobOptions,
    file: Any,
    patch: Any,
    argv: Sequence[str] | None,
    *,
    author: str,
    now_ms: int,
) -> dict[str, Any]:
    """``file`` and ``patch``: what the named files hold, None without one; ``argv``: after ``--``."""
    if file is not None and not isinstance(file, dict):
        raise BadUsageError(
            f"{clean(options.file or '')}: expected a job: an object with a selector"
        )
    body: dict[str, Any] = dict(file or {})
    selector, payload = _what(options, argv, patch, has_file=file is not None)
    if selector is not None:
        body["selector"] = selector
    if payload and {"command", "config"} & body.keys():
        raise BadUsageError("what is done stands in the file already: give it there or here")
    body |= payload
    rules = _laid(body.get("rules"), _rules(options), "rules")
    start = _laid(body.get("start"), _start(options, now_ms), "start")
    body |= {key: value for key, value in (("rules", rules), ("start", start)) if value}
    for key, said in (("following", options.following), ("allow_empty", options.allow_empty)):
        if said:
            body[key] = True
    if options.message is not None:
        body["message"] = options.message
    if options.author is not None or not body.get("author"):
        body["author"] = author
    if options.name is not None or "name" not in body:
        body["name"] = options.name or default_name(body)
    return body


def _what(
    options: JobOptions, argv: Sequence[str] | None, patch: Any, *, has_file: bool
) -> tuple[str | None, dict[str, Any]]:
    """The selector, None if not given, and what is done, empty if not given."""
    words = list(options.words or ())
    if patch is not None:
        if argv is not None or options.arg or options.undo or options.undo_arg or options.undo_argv:
            raise BadUsageError("--config is what is done: no --arg, --undo or words after --")
        if not isinstance(patch, dict):
            raise BadUsageError(f"{clean(options.config or '')}: expected an object, a merge patch")
        config: dict[str, Any] = {"patch": patch}
        if options.priority is not None:
            config["priority"] = options.priority
        return _selector(options, words, required=not has_file), {"config": config}
    if options.priority is not None:
        raise BadUsageError("--priority is of a --config")
    if has_file and (not words or all(map(is_selector, words))):
        unused = [*(options.arg or ()), *(options.undo_arg or ()), *(argv or ())]
        if unused or options.undo or options.undo_argv or options.timeout:
            raise BadUsageError("which verb? Arguments without one; the file's verb has its own")
        return _selector(options, words, required=False), {}
    if not words or is_selector(words[-1]):
        raise BadUsageError(
            "what is to be done? Give a selector and a verb, --config FILE or --file FILE"
        )
    *targets, verb = words
    return _selector(options, targets, required=not has_file), {
        "command": _command(options, verb, argv)
    }


def _selector(options: JobOptions, targets: Sequence[str], *, required: bool) -> str | None:
    ways = [options.every, options.selector is not None, bool(targets)]
    if sum(ways) > 1:
        raise BadUsageError("the nodes are said twice: by words, --all or --selector, one of them")
    if options.every:
        return "all"
    if options.selector is not None:
        return options.selector
    if not targets:
        if required:
            raise BadUsageError("which nodes? Name some, give a selector, or --all for every node")
        return None
    names = named_nodes(targets)
    if len(names) > 1 and any(is_selector(name) for name in names):
        raise BadUsageError("names and selectors together: write one selector, in quotes")
    chosen = address(names, every=False)
    return str(chosen.get("selector") or " or ".join(f"node:{name}" for name in names))


def _command(options: JobOptions, verb: str, argv: Sequence[str] | None) -> dict[str, Any]:
    command: dict[str, Any] = {"verb": verb, "args": arguments(options.arg or (), argv)}
    if options.timeout is not None:
        command["timeout_s"] = seconds("--timeout", options.timeout)
    undo_argv = None
    if options.undo_argv is not None:
        try:
            undo_argv = shlex.split(options.undo_argv)
        except ValueError as exc:
            raise BadUsageError(f"--undo-argv {clean(options.undo_argv)!r}: {exc}") from exc
    undo = options.undo or (verb if undo_argv is not None else None)
    if undo is not None:
        command["undo"] = {"verb": undo, "args": arguments(options.undo_arg or (), undo_argv)}
    elif options.undo_arg:
        raise BadUsageError("--undo-arg without --undo VERB")
    return command


def _rules(options: JobOptions) -> dict[str, Any]:
    rules: dict[str, Any] = {
        "waves": _without_none(
            {
                "sizes": None if options.waves is None else sizes("--waves", options.waves),
                "factor": options.factor,
            }
        ),
        "at_once": options.at_once,
        "at_once_per_group": options.at_once_per_group,
        "success": _without_none({"percent": options.success, "minimum": options.success_minimum}),
        "gates": [gate(text) for text in options.gate or ()],
        "retries": options.retries,
        "budgets": [budget(text) for text in options.budget or ()],
        "approval": options.approval or None,
        "windows": [window(text) for text in options.window or ()],
        "timezone": options.timezone,
    }
    for name in ("soak", "gate_wait", "node_deadline", "deadline"):
        text = getattr(options, name)
        if text is not None:
            rules[f"{name}_s"] = seconds(f"--{name.replace('_', '-')}", text)
    return {key: value for key, value in rules.items() if value not in (None, {}, [])}


def _start(options: JobOptions, now_ms: int) -> dict[str, Any]:
    start: dict[str, Any] = {}
    if options.start_at is not None:
        start["at"] = instant("--start-at", options.start_at, now_ms)
    if options.cron is not None:
        start["cron"] = options.cron
        if options.timezone is not None:
            start["timezone"] = options.timezone
    return start


def _without_none(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if value is not None}


def _laid(below: Any, above: Mapping[str, Any], field: str) -> dict[str, Any]:
    """What options say upon what the file says; objects within are laid upon each other, too."""
    if below is not None and not isinstance(below, Mapping):
        raise BadUsageError(f"{field} in the file: expected an object")
    found = dict(below or {})
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = {**found[key], **value} if both else value
    return found


def seconds(option: str, text: str) -> float:
    """``0`` and durations such as ``90s`` or ``15m``."""
    if text.strip() in ("0", "0s"):
        return 0.0
    try:
        return parse_duration(text)
    except ValueError as exc:
        raise BadUsageError(f"{option} {clean(str(exc))}") from exc


def instant(option: str, text: str, now_ms: int) -> str:
    """An RFC 3339 time as it is; a duration, from now."""
    if instant_ms(text) is not None:
        return text
    try:
        at_ms = now_ms + round(parse_duration(text) * 1000)
    except ValueError:
        raise BadUsageError(
            f"{option} {clean(text)!r}: expected a time with its zone, for example "
            "2026-03-01T10:00:00Z, or a duration from now such as 2h"
        ) from None
    return instant_text(at_ms)


def size(option: str, text: str) -> int | str:
    """``10`` or ``2.5%``."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text)
    if not re.fullmatch(r"\d+(\.\d+)?%", text, re.ASCII):
        raise BadUsageError(f"{option} {clean(text)!r}: expected a count or a percentage: 10, 2.5%")
    return text


def sizes(option: str, text: str) -> list[int | str]:
    return [size(option, part) for part in text.split(",")]


def budget(text: str) -> dict[str, Any]:
    """``eu/hamburg=10%``; without a group, of the whole fleet."""
    group, _, most = text.rpartition("=")
    return {"group": group.strip(), "most": size("--budget", most)}


def window(text: str) -> dict[str, Any]:
    match = _WINDOW.fullmatch(text.strip())
    if match is None:
        raise BadUsageError(
            f"--window {clean(text)!r}: expected CRON for DURATION: 0 2 * * * for 2h"
        )
    return {"cron": match["cron"], "duration_s": seconds("--window", match["duration"])}


def gate(text: str) -> dict[str, Any]:
    """A metric against the nodes not yet touched, or a selector with its percentage."""
    text = text.strip()
    metric = _METRIC_GATE.fullmatch(text)
    if metric is not None:
        plus = float(metric["plus"] or 0)
        return {
            "series": metric["series"],
            "op": metric["op"],
            "factor": float(metric["factor"] or 1),
            "plus": -plus if metric["sign"] == "-" else plus,
        }
    share = _GATE_PERCENT.fullmatch(text)
    if share is not None:
        return {"selector": share[2], "percent": float(share[1])}
    return {"selector": text}


def default_name(body: Mapping[str, Any]) -> str:
    """``exec uptime -p``, or which documents a patch changes."""
    command, config = body.get("command"), body.get("config")
    if isinstance(command, Mapping):
        args = command.get("args")
        argv = args.get("argv") if isinstance(args, Mapping) else None
        words = [command.get("verb"), *(argv if isinstance(argv, list) else ())]
        text = " ".join(str(word) for word in words)
    elif isinstance(config, Mapping) and isinstance(config.get("patch"), Mapping):
        text = "configuration of " + ", ".join(sorted(map(str, config["patch"])))
    else:
        text = "job"
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"
