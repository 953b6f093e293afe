"""Tasks as documents: what the API shows of a task, its instances, its history and its decisions. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import orjson

from farshore_center.events.instant import rfc3339
from farshore_center.tasks.records import Granted, Instance, Task

BUSY = ("pending", "active")
"""States of an instance at the center in which something is still to come."""


def state_of(task: Task, shown: Sequence[Mapping[str, Any]]) -> str:
    """The task as a whole, from its instances as they are shown.

    ``stopping`` and ``deleting`` last while something may still run. ``done`` and ``failed`` are of a batch;
    an instance that failed for good makes it failed once nothing else is under way.
    """
    states = [each["state"] for each in shown]
    under_way = [state for state in states if state not in ("done", "failed", "stopped")]
    if task.wanted == "delete":
        return "deleting"
    if task.wanted == "stop":
        return "stopping" if [state for state in under_way if state != "pending"] else "stopped"
    running = states.count("running")
    if task.spec.kind == "batch" and states and not under_way:
        return "failed" if "failed" in states else "done"
    if states and running + states.count("done") == len(states):
        return "running"
    return "degraded" if running else "pending"


def task_document(
    task: Task,
    instances: Iterable[Instance],
    grants: Mapping[tuple[int, int], Granted],
    *,
    whole: bool = True,
) -> dict[str, Any]:
    """``grants``: by instance and epoch. Without ``whole``: without the instances."""
    shown = [
        instance_document(each, grants.get((each.instance, each.epoch)))
        for each in instances
        if each.instance < task.spec.count or each.state == "active"
    ]
    summary: dict[str, int] = {}
    for each in shown:
        summary[each["state"]] = summary.get(each["state"], 0) + 1
    document = {
        **put_document(task),
        "wanted": task.wanted,
        "state": state_of(task, shown),
        "author": task.author,
        "created": rfc3339(task.created_ms),
        "updated": rfc3339(task.updated_ms),
        "asked": rfc3339(task.asked_ms),
        "next": None if task.next_ms is None else rfc3339(task.next_ms),
        "summary": summary,
    }
    return document | ({"instances": shown} if whole else {})


def put_document(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "revision": task.revision,
        "spec": msgspec.to_builtins(task.spec),
        "digest": task.digest,
    }


def instance_document(each: Instance, grant: Granted | None) -> dict[str, Any]:
    """While it is active, the state is that of its grant: the node's word, or ``lost``."""
    active = each.state == "active" and grant is not None
    state = grant.state if active and grant is not None else each.state
    waits = each.state in BUSY and state != "running"
    return {
        "instance": each.instance,
        "attempt": each.attempt,
        "epoch": each.epoch,
        "node": None if grant is None or each.state == "pending" else grant.node,
        "state": state,
        "since": rfc3339(max(each.since_ms, grant.since_ms) if active and grant else each.since_ms),
        "healthy": grant.healthy if active and grant is not None else None,
        "restarts": 0 if grant is None else grant.restarts,
        "exit_code": each.exit_code,
        "reason": _reason(each, grant if active else None),
        "result": None if each.result is None else orjson.loads(each.result),
        "pending_reason": each.reason if waits else None,
        "cpus": list(grant.cpus) if active and grant is not None else [],
        "gpus": list(grant.gpus) if active and grant is not None else [],
    }


def _reason(each: Instance, grant: Granted | None) -> str | None:
    said = grant.reason if grant is not None else None
    return said or (each.reason if each.state not in BUSY else None)


def explained(each: Instance) -> dict[str, Any]:
    """The last decision on its place, as it was stored."""
    stored: Any = None if each.decision is None else orjson.loads(each.decision)
    found = stored if isinstance(stored, dict) else {}
    decision = "pending" if each.state == "pending" else found.get("decision", "placed")
    return {
        "decided_at": rfc3339(each.since_ms) if found else None,
        "node": None,
        "policy": None,
        "scores": {},
        "rejected": {},
        "candidates": [],
        "estimate": [],
        **found,
        "instance": each.instance,
        "decision": decision if found or each.state == "pending" else None,
        "reason": each.reason,
    }


def history_document(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "at": rfc3339(row["at_ms"]),
        "instance": row["instance"],
        "epoch": row["epoch"],
        "node": row["node"],
        "state": row["state"],
        "reason": row["reason"],
        "by": row["author"],
    }
