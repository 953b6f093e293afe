"""What was measured, for estimates: how long runs of a task took on nodes of a kind; rates of links."""

from collections.abc import Iterable

import orjson
from sqlalchemy import Connection, select

from farshore_center.db.upsert import upsert
from farshore_center.placement import Link, RunTime
from farshore_center.tasks.model import links, run_times

KEPT = 64
ANYWHERE = "*"


def note_run(conn: Connection, task: str, kinds: Iterable[str], run_s: float) -> None:
    """Of the node itself and its kind, and of anywhere."""
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


def note_link(
    conn: Connection, node: str, *, up: float, down: float, latency_s: float, now_ms: int
) -> None:
    row = {
        "node": node,
        "up_bytes_s": up,
        "down_bytes_s": down,
        "latency_s": latency_s,
        "measured_ms": now_ms,
    }
    upsert(conn, links, [row], key=("node",))


def load_links(conn: Connection) -> dict[str, Link]:
    return {
        row.node: Link(
            up_bytes_s=max(row.up_bytes_s, 1.0),
            down_bytes_s=max(row.down_bytes_s, 1.0),
            latency_s=max(row.latency_s, 0.0),
            measured=True,
        )
        for row in conn.execute(select(links))
    }
