"""What was measured, for estimates: how long runs of a task took on nodes of a kind; rates of links."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from farshore_protocol.messages import LinkMeasured
from sqlalchemy import Connection, select

from farshore_center.db.upsert import upsert
from farshore_center.events.instant import rfc3339
from farshore_center.placement import Link, NodeCapacity, RunTime
from farshore_center.placement.columns import ASSUMED
from farshore_center.tasks.model import links, run_times

KEPT = 64
ANYWHERE = "*"


# How long runs took


def run_without_transfer(run_s: float, decision: str | None) -> float:
    """A task moves its data while it runs. What that was reckoned to take at its node (``decision``, as it is
    stored) is no part of the run time: elsewhere it takes another time."""
    figures = [] if decision is None else orjson.loads(decision).get("estimate", [])
    moved_s = sum(each["value"] or 0.0 for each in figures if each["name"] == "transfer")
    return max(0.0, run_s - moved_s)


def note_run(conn: Connection, task: str, kinds: Iterable[str], run_s: float) -> None:
    """Of the node itself, its kind, its side, and of anywhere."""
    if not 0 <= run_s < 1e9:
        return
    for kind in {*kinds, ANYWHERE} - {""}:
        found = conn.execute(
            select(run_times).where(run_times.c.task == task, run_times.c.kind == kind)
        ).first()
        last = [] if found is None else orjson.loads(found.last_s)
        last = [*last, round(run_s, 3)][-KEPT:]
        row = {
            "task": task,
            "kind": kind,
            "runs": 1 if found is None else found.runs + 1,
            "last_s": orjson.dumps(last).decode(),
        }
        upsert(conn, run_times, [row], key=("task", "kind"))


def run_time(last_s: list[float], runs: int) -> RunTime:
    """Mean, and the 95th percentile of those that are kept (nearest rank)."""
    ordered = sorted(last_s)
    rank = max(0, -(-95 * len(ordered) // 100) - 1)
    return RunTime(mean_s=sum(ordered) / len(ordered), p95_s=ordered[rank], count=runs)


def load_runs(conn: Connection, names: Iterable[str]) -> dict[str, dict[str, RunTime]]:
    """By task and kind."""
    found: dict[str, dict[str, RunTime]] = {}
    wanted = list(names)
    question = select(run_times).where(run_times.c.task.in_(wanted))
    for row in conn.execute(question):
        last = orjson.loads(row.last_s)
        if last:
            found.setdefault(row.task, {})[row.kind] = run_time(last, row.runs)
    return found


# Links


def note_link(conn: Connection, node: str, word: LinkMeasured, at_ms: int) -> None:
    """What the node has measured, at ``at_ms`` on the center's clock; what the word leaves out stays, and an
    older word than the last says nothing. A rate of 0 in the table is one that was never measured."""
    found = conn.execute(select(links).where(links.c.node == node)).first()
    if found is not None and found.measured_ms > at_ms:
        return
    row = {
        "node": node,
        "up_bytes_s": word.up_bytes_s or (found.up_bytes_s if found else 0.0),
        "down_bytes_s": word.down_bytes_s or (found.down_bytes_s if found else 0.0),
        "latency_s": _latency(word, found.latency_s if found else ASSUMED.latency_s),
        "measured_ms": at_ms,
    }
    upsert(conn, links, [row], key=("node",))


def _latency(word: LinkMeasured, before_s: float) -> float:
    return before_s if word.round_trip_s is None else word.round_trip_s


def load_links(conn: Connection) -> dict[str, Link]:
    """One of which only one direction was measured has the assumed rate in the other, and says so."""
    return {
        row.node: Link(
            up_bytes_s=row.up_bytes_s or ASSUMED.up_bytes_s,
            down_bytes_s=row.down_bytes_s or ASSUMED.down_bytes_s,
            latency_s=max(row.latency_s, 0.0),
            measured=row.up_bytes_s > 0 and row.down_bytes_s > 0,
            measured_ms=row.measured_ms,
        )
        for row in conn.execute(select(links))
    }


def links_told(nodes: Sequence[NodeCapacity]) -> list[dict[str, Any]]:
    """For ``explain``: ``{"node","up_bytes_s","down_bytes_s","round_trip_s","measured_at"}`` of each node of
    the edge; ``measured_at`` None: its rates are assumed."""
    told = []
    for node in nodes:
        if node.side == "core":
            continue
        link = node.link or ASSUMED
        at_ms = link.measured_ms if link.measured else None
        told.append(
            {
                "node": node.node,
                "up_bytes_s": link.up_bytes_s,
                "down_bytes_s": link.down_bytes_s,
                "round_trip_s": link.latency_s,
                "measured_at": None if at_ms is None else rfc3339(at_ms),
            }
        )
    return told
