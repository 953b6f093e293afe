"""Tasks as the API shows them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import orjson

from farshore_center.events.instant import rfc3339
from farshore_center.tasks.records import Granted, Instance, NodeTasks, Task


def task_document(
    task: Task, instances: Sequence[tuple[Instance, Granted | None]]
) -> dict[str, Any]:
    """Without its instances."""
    shown = [shown_state(instance, grant) for instance, grant in instances]
    return {
        "name": task.name,
        "revision": task.revision,
        "spec": msgspec.to_builtins(task.spec),
        "digest": task.digest,
        "wanted": task.wanted,
        "state": state_of(task, shown),
        "created": rfc3339(task.created_ms),
        "updated": rfc3339(task.updated_ms),
        "by": task.author,
        "next": None if task.next_ms is None else rfc3339(task.next_ms),
        "summary": {state: shown.count(state) for state in dict.fromkeys(shown)},
    }


def shown_state(instance: Instance, grant: Granted | None) -> str:
    """Of an instance at work that of its grant, which the node tells."""
    if instance.state == "active" and grant is not None:
        return grant.state
    return instance.state


def state_of(task: Task, shown: Sequence[str]) -> str:
    """In a word, from the states of its instances."""
    if task.wanted == "delete":
        return "deleting"
    if task.wanted == "stop":
        return "stopping" if {*shown} - {"stopped", "done", "failed"} else "stopped"
    if not shown or all(state == "stopped" for state in shown):
        return "pending"
    if all(state == "done" for state in shown):
        return "done"
    if "failed" in shown and not {*shown} - {"done", "failed"}:
        return "failed"
    if all(state in ("running", "done") for state in shown):
        return "running"
    return "degraded" if "running" in shown else "pending"


def instance_document(instance: Instance, grant: Granted | None) -> dict[str, Any]:
    at_work = instance.state == "active" and grant is not None
    return {
        "instance": instance.instance,
        "attempt": instance.attempt,
        "epoch": instance.epoch or None,
        "node": None if grant is None else grant.node,
        "state": shown_state(instance, grant),
        "since": rfc3339(grant.since_ms if at_work and grant else instance.since_ms),
        "healthy": grant.healthy if at_work and grant else None,
        "restarts": 0 if grant is None else grant.restarts,
        "exit_code": instance.exit_code if grant is None or not at_work else grant.exit_code,
        "reason": (grant.reason if at_work and grant else None) or instance.reason,
        "result": None if instance.result is None else orjson.loads(instance.result),
        "pending_reason": instance.reason if instance.state in ("pending", "active") else None,
        "cpus": [] if grant is None else list(grant.cpus),
        "gpus": [] if grant is None else list(grant.gpus),
    }


def explanation(instance: Instance, grant: Granted | None) -> dict[str, Any]:
    """What was decided last, as it was stored then."""
    stored = {} if instance.decision is None else orjson.loads(instance.decision)
    placed = "node" in stored
    decision = stored.get("decision") or ("placed" if placed else "pending")
    return {
        "instance": instance.instance,
        "state": shown_state(instance, grant),
        "decided_at": rfc3339(grant.granted_ms if placed and grant else instance.since_ms),
        "decision": decision,
        "node": stored.get("node") or stored.get("from"),
        "policy": stored.get("policy"),
        "score": stored.get("score"),
        "scores": stored.get("scores", {}),
        "weights": stored.get("weights", {}),
        "rejected": stored.get("rejected", {}),
        "candidates": stored.get("candidates"),
        "estimate": stored.get("estimate", []),
        "reason": stored.get("reason") or instance.reason,
        "gave_way": stored.get("gave_way"),
        "pushed_out": stored.get("pushed_out", []),
        "to": stored.get("to"),
        "by": stored.get("by"),
        "gain": stored.get("gain"),
        "links": stored.get("links", []),
        "waits": _waits_document(stored.get("waits")),
    }


def _waits_document(waits: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if waits is None:
        return None
    done_ms = waits["done_ms"]
    return {
        "node": waits["node"],
        "since": rfc3339(waits["since_ms"]),
        "room_at": rfc3339(waits["room_ms"]),
        "done_at": None if done_ms is None else rfc3339(done_ms),
        "ahead": waits["ahead"],
        "estimate": waits["estimate"],
        "instead": waits["instead"],
        "instead_s": waits["instead_s"],
        "instead_estimate": waits["instead_estimate"],
    }


def drain_document(
    row: NodeTasks, held: Sequence[tuple[Instance | None, Granted]]
) -> dict[str, Any]:
    return {
        "node": row.node,
        "drained": row.drained,
        "since": None if row.drain_ms is None else rfc3339(row.drain_ms),
        "deadline": None if row.drain_until_ms is None else rfc3339(row.drain_until_ms),
        "reason": row.drain_reason,
        "by": row.drain_by,
        "instances": len(held),
        "items": [
            {
                "task": grant.task,
                "instance": grant.instance,
                "state": grant.state,
                "reason": grant.reason or (instance.reason if instance else None),
            }
            for instance, grant in held
        ],
    }


def line_document(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "at": rfc3339(row["at_ms"]),
        "instance": row["instance"],
        "epoch": row["epoch"],
        "node": row["node"],
        "state": row["state"],
        "reason": row["reason"],
        "by": row["author"],
    }
