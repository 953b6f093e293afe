"""A node as the API shows it."""

from collections.abc import Mapping
from typing import Any

from farshore_center.events.instant import rfc3339
from farshore_center.nodes.registry import NodeEntry
from farshore_center.telemetry.latest import LastValue

SHOWN_SERIES = ("cpu.percent", "mem.percent")
"""What a list of nodes shows of their telemetry."""


def node_document(
    entry: NodeEntry,
    *,
    facts: Mapping[str, Any] | None,
    latest: Mapping[str, LastValue],
    config: Mapping[str, Any],
    drained: bool = False,
) -> dict[str, Any]:
    standing = entry.standing
    return {
        "name": entry.name,
        "group": entry.group,
        "labels": entry.labels,
        "facts": facts or {},
        "state": "online" if standing.online else "offline",
        "drained": drained,
        "last_seen": None if entry.last_seen_ms is None else rfc3339(entry.last_seen_ms),
        "boot": standing.boot,
        "conn": standing.conn or None,
        "agent_version": entry.agent_version,
        "protocol": entry.protocol,
        "clock_offset_ms": entry.clock_offset_ms,
        "capabilities": entry.capabilities or {"verbs": [], "drivers": []},
        "created_at": rfc3339(entry.created_ms),
        "config": config,
        "queue": entry.queue,
        "latest": {name: value.value for name, value in latest.items()},
    }


def etag(entry: NodeEntry) -> str:
    return f'"{entry.revision}"'
