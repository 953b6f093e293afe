"""What nodes say of their configuration, written inside the transaction that accepts it.

Nothing that a node says may make it fail: the same record would come again for ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from farshore_protocol.config.messages import ConfigReport
from sqlalchemy import Connection

from farshore_center.config import node_store
from farshore_center.config.engine import NodeConfig, hear
from farshore_center.events.model import Draft


@dataclass(slots=True, kw_only=True)
class Recorded:
    """``send``: nodes that have to be sent their desired again."""

    drafts: list[Draft] = field(default_factory=list)
    send: set[str] = field(default_factory=set)


def record_many(
    conn: Connection, pairs: Sequence[tuple[str, ConfigReport]], now_ms: int
) -> Recorded:
    """Applies the reports, each with the node that sent it, in their order."""
    before = node_store.load(conn, [node for node, _ in pairs])
    now: dict[str, NodeConfig] = {}
    recorded = Recorded()
    for node, report in pairs:
        row = now.get(node) or before.get(node)
        if row is None:
            # It was configured by another center, or before this one lost its memory.
            row = NodeConfig(node=node, labels={}, changed_ms=now_ms)
        heard = hear(row, report, now_ms)
        now[node] = heard.row
        if heard.send:
            recorded.send.add(node)
        recorded.drafts += [
            Draft(kind=kind, node=node, data=_data(kind, heard.row), at_ms=now_ms)
            for kind in heard.events
        ]
    node_store.save(conn, [row for node, row in now.items() if row is not before.get(node)])
    return recorded


def _data(kind: str, row: NodeConfig) -> Mapping[str, Any]:
    if kind == "config.override":
        return {"override": _fragment(row.override)}
    data: dict[str, Any] = {"rev": row.reported_rev, "digest": row.reported_digest}
    if row.error is not None:
        data["error"] = _fragment(row.error)
    if row.differences is not None:
        data["differences"] = _fragment(row.differences)
    if kind == "config.ahead":
        data["desired_rev"] = row.rev
    return data


def _fragment(text: bytes | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)
