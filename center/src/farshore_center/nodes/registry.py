"""The fleet in memory: every node with its standing; the database follows it.

What a person or a node changes is written at once; ``last_seen`` and queues are written in
intervals, because a message must not cost a row update.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, select

from farshore_center.nodes.model import nodes
from farshore_center.nodes.presence import Standing


@dataclass(slots=True, kw_only=True)
class NodeEntry:
    """A node as the center knows it now; ``stored``: whether it has a row."""

    name: str
    created_ms: int
    group: str = ""
    group_by: str = "node"
    labels: dict[str, str] = field(default_factory=dict)
    labels_by: str = "node"
    facts_digest: str | None = None
    standing: Standing = field(default_factory=Standing)
    agent_version: str | None = None
    protocol: int | None = None
    capabilities: dict[str, Any] = field(default_factory=dict)
    queue: dict[str, Any] = field(default_factory=dict)
    clock_offset_ms: float | None = None
    last_seen_ms: int | None = None
    revision: int = 1
    revisions: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """What the node said at its birth that it runs; known since then, and not written."""

    def row(self) -> dict[str, Any]:
        """The columns of its row, but for the facts, which only their report writes."""
        return {
            "name": self.name,
            "group_path": self.group,
            "group_by": self.group_by,
            "labels": orjson.dumps(self.labels),
            "labels_by": self.labels_by,
            "online": self.standing.online,
            "boot": self.standing.boot,
            "conn": self.standing.conn,
            "agent_version": self.agent_version,
            "protocol": self.protocol,
            "capabilities": orjson.dumps(self.capabilities),
            "queue": orjson.dumps(self.queue),
            "heartbeat_s": self.standing.heartbeat_s,
            "clock_offset_ms": self.clock_offset_ms,
            "created_ms": self.created_ms,
            "last_seen_ms": self.last_seen_ms,
            "revision": self.revision,
        }


class Registry:
    """All nodes by name. Only the event loop touches it."""

    def __init__(self) -> None:
        self._entries: dict[str, NodeEntry] = {}

    def get(self, name: str) -> NodeEntry | None:
        return self._entries.get(name)

    def obtain(self, name: str, now_ms: int) -> tuple[NodeEntry, bool]:
        """The node, made if it is new; and whether it was made."""
        entry = self._entries.get(name)
        if entry is not None:
            return entry, False
        entry = self._entries[name] = NodeEntry(name=name, created_ms=now_ms)
        return entry, True

    def remove(self, name: str) -> None:
        self._entries.pop(name, None)

    def put_back(self, entry: NodeEntry) -> None:
        """Undoes a removal, unless the node has registered itself meanwhile."""
        self._entries.setdefault(entry.name, entry)

    def fill(self, entries: Iterable[NodeEntry]) -> None:
        self._entries = {entry.name: entry for entry in entries}

    def all(self) -> list[NodeEntry]:
        """By name."""
        return [self._entries[name] for name in sorted(self._entries)]

    def online(self) -> frozenset[str]:
        return frozenset(name for name, e in self._entries.items() if e.standing.online)

    def __len__(self) -> int:
        return len(self._entries)


def load(connection: Connection) -> list[NodeEntry]:
    """Every node as it was written. None is online: a center that starts has heard nobody yet."""
    columns = [column for column in nodes.c if column.name != "facts"]
    entries = []
    for row in connection.execute(select(*columns)).mappings():
        standing = Standing(boot=row["boot"], conn=row["conn"] or 0, heartbeat_s=row["heartbeat_s"])
        entries.append(
            NodeEntry(
                name=row["name"],
                created_ms=row["created_ms"],
                group=row["group_path"],
                group_by=row["group_by"],
                labels=orjson.loads(row["labels"]),
                labels_by=row["labels_by"],
                facts_digest=row["facts_digest"],
                standing=standing,
                agent_version=row["agent_version"],
                protocol=row["protocol"],
                capabilities=orjson.loads(row["capabilities"]),
                queue=orjson.loads(row["queue"]),
                clock_offset_ms=row["clock_offset_ms"],
                last_seen_ms=row["last_seen_ms"],
                revision=row["revision"],
            )
        )
    return entries
