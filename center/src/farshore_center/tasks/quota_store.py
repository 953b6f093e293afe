"""Rows of quotas, and what tasks reserve: plain functions of a connection."""

from dataclasses import asdict
from typing import Any

from farshore_protocol.tasks import TaskSpec
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select, update

from farshore_center.api.problems import Problem
from farshore_center.db.upsert import upsert
from farshore_center.groups.tree import in_subtree
from farshore_center.tasks.model import instances, tasks
from farshore_center.tasks.quota_model import quotas
from farshore_center.tasks.quotas import Quota, Use, overs, refused, use_of
from farshore_center.tasks.store import read_spec

NAMED = 5
"""Tasks in the sentence of a refusal."""

_UNSETTLED = ("pending", "active")


def load(conn: Connection) -> list[Quota]:
    """By group."""
    found = conn.execute(select(quotas).order_by(quotas.c.group_path)).mappings()
    return [_quota(dict(row)) for row in found]


def save(conn: Connection, quota: Quota) -> None:
    row = asdict(quota)
    upsert(conn, quotas, [{"group_path": row.pop("group"), **row}], key=("group_path",))


def remove(conn: Connection, group: str) -> None:
    conn.execute(delete(quotas).where(quotas.c.group_path == group))


def uses(conn: Connection) -> list[Use]:
    """What every task reserves that runs or may run: not the stopped ones, nor a batch that is over."""
    unsettled = exists().where(
        and_(instances.c.task == tasks.c.name, instances.c.state.in_(_UNSETTLED))
    )
    found = conn.execute(
        select(tasks.c.name, tasks.c.spec, unsettled).where(tasks.c.wanted == "run")
    )
    specs = [(name, read_spec(spec), open_) for name, spec, open_ in found]
    return [
        use_of(name, spec)
        for name, spec, open_ in specs
        if open_ or spec.kind == "service" or spec.cron is not None
    ]


def check(conn: Connection, name: str, spec: TaskSpec) -> None:
    """Problem 409 where a quota does not allow the task to run as it is written. Of two that are written
    at once, the second one sees the first."""
    limits = [each for each in load(conn) if not each.group or in_subtree(spec.group, each.group)]
    if limits:
        found = overs(limits, uses(conn), use_of(name, spec))
        if found:
            raise refused(found)


class TaskGroups:
    """What becomes of a group that quotas and tasks name, inside the transaction of its change."""

    def moving(self, conn: Connection, old: str, new: str) -> None:
        """Quotas come along; Problem 409 where tasks count for the group, whose specifications say so."""
        self._free(conn, old)
        path, below = quotas.c.group_path, old + "/"
        conn.execute(
            update(quotas)
            .where(_subtree(path, old, below))
            .values(group_path=new + func.substr(path, len(old) + 1))
        )

    def deleting(self, conn: Connection, path: str) -> None:
        self._free(conn, path)
        if conn.execute(select(quotas.c.group_path).where(quotas.c.group_path == path)).first():
            raise Problem(
                status=409,
                title="The group has a quota",
                field="path",
                detail=f"{path} has a quota",
                expected="a group whose quota was deleted",
            )

    def _free(self, conn: Connection, path: str) -> None:
        rows = conn.execute(select(tasks.c.name, tasks.c.spec).order_by(tasks.c.name))
        named = [name for name, spec in rows if in_subtree(read_spec(spec).group, path)]
        if named:
            more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
            raise Problem(
                status=409,
                title="Tasks count for the group",
                field="path",
                detail=f"{path} is the group of {', '.join(named[:NAMED])}{more}",
                expected="a group that no task names; put the tasks with another group first",
            )


def _subtree(path: ColumnElement[str], top: str, below: str) -> ColumnElement[bool]:
    return (path == top) | (func.substr(path, 1, len(below)) == below)


def _quota(row: dict[str, Any]) -> Quota:
    return Quota(group=row.pop("group_path"), **row)
