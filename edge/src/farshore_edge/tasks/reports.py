"""``evt/task`` and ``rep/tasks``, as bodies. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from farshore_protocol.tasks import Grant, Held

from farshore_edge.tasks.model import Kept

HIGHEST_TOLD = 1_000
"""Epochs in a report, of instances that are not held any more; the newest."""


def event(kept: Kept) -> dict[str, Any]:
    """``kept`` with the states passed since the last event; what is not known is left out."""
    grant = kept.grant
    word: dict[str, Any] = {
        "task": grant.task,
        "instance": grant.instance,
        "attempt": grant.attempt,
        "epoch": grant.epoch,
        "state": kept.state,
        "at_ms": max(0, kept.at_ms),
    }
    more = {
        "via": [list(each) for each in kept.via],
        "healthy": kept.healthy,
        "restarts": kept.restarts,
        "exit_code": kept.exit_code,
        "signal": kept.signal,
        "code": kept.code,
        "reason": kept.reason,
        "run_s": kept.run_s,
        "result": kept.result,
    }
    word |= {name: value for name, value in more.items() if value not in (None, [])}
    return {"data": word}


def refusal(grant: Grant, at_ms: int, code: str, reason: str) -> dict[str, Any]:
    """A grant that is never run here, and that is not kept."""
    return event(Kept(grant=grant, state="rejected", at_ms=at_ms, code=code, reason=reason))


def report(rev: int, kept: Iterable[Kept], highest: Mapping[str, int]) -> dict[str, Any]:
    """All that the node has. ``highest`` of what is held, and the newest of what was."""
    held = list(kept)
    keys = {each.key for each in held}
    others = sorted(highest.items(), key=lambda pair: -pair[1])[: HIGHEST_TOLD + len(keys)]
    told = {key: highest[key] for key in sorted(keys) if key in highest} | dict(
        others[:HIGHEST_TOLD]
    )
    return {"rev": rev, "held": [_plain(each.held()) for each in held], "highest": told}


def _plain(held: Held) -> dict[str, Any]:
    values = {each.name: getattr(held, each.name) for each in fields(held)}
    return {name: value for name, value in values.items() if value not in (None, ())}


def in_short(kept: Kept) -> dict[str, Any]:
    """For the verb ``status``."""
    return {"task": kept.key, "epoch": kept.grant.epoch, "state": kept.state, "pid": kept.pid}
