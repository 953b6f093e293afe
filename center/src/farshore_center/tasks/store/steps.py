"""The history of tasks: a line for each thing that happened."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, delete, func, insert, select

from farshore_center.tasks.model import steps
from farshore_center.tasks.records import Line


def add_lines(conn: Connection, lines: Sequence[Line], now_ms: int) -> None:
    if lines:
        conn.execute(
            insert(steps),
            [
                {
                    "task": line.task,
                    "instance": line.instance,
                    "epoch": line.epoch,
                    "node": line.node,
                    "at_ms": now_ms,
                    "state": line.state,
                    "reason": line.reason,
                    "author": line.by,
                }
                for line in lines
            ],
        )


def history(
    conn: Connection, task: str, limit: int, instance: int | None = None
) -> list[RowMapping]:
    """The newest, the oldest of them first."""
    question = select(steps).where(steps.c.task == task)
    if instance is not None:
        question = question.where(steps.c.instance == instance)
    found = conn.execute(question.order_by(steps.c.id.desc()).limit(limit)).mappings().all()
    return list(reversed(found))


def prune_history(conn: Connection, keep: int) -> int:
    newest = conn.execute(select(func.max(steps.c.id))).scalar()
    if newest is None or newest <= keep:
        return 0
    return conn.execute(delete(steps).where(steps.c.id <= newest - keep)).rowcount
