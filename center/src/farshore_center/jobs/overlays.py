"""The layers of jobs among the overlays: who has one is said by the job's nodes, not by a selector.

For the configuration's room it is the groups' room with some more overlays in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, select

from farshore_center.api.problems import Problem
from farshore_center.config import layer_store
from farshore_center.config.fleet import Groups, OverlayLike, Paths
from farshore_center.config.request import LayerChange
from farshore_center.db.database import Database
from farshore_center.jobs.lifecycle import OVER
from farshore_center.jobs.model import job_nodes, jobs
from farshore_center.jobs.record import Record, read_spec
from farshore_center.jobs.rules import ConfigPayload

PREFIX = "job-"

OUTSIDE = frozenset({"waiting", "left", "undoing", "undone", "undo_failed"})
"""States of nodes that do not have the job's layer, or no longer."""


def overlay_name(job_id: str) -> str:
    return PREFIX + job_id


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOverlay:
    name: str
    selector: str
    priority: int


def layer_members(conn: Connection, job_id: str) -> frozenset[str]:
    """The nodes that have the job's layer now."""
    found = select(job_nodes.c.node).where(
        job_nodes.c.job_id == job_id, job_nodes.c.state.not_in(OUTSIDE)
    )
    return frozenset(conn.execute(found).scalars())


class JobOverlays:
    """``groups`` with the overlays of jobs; those of one priority in the order of their making,
    behind one of people."""

    def __init__(self, database: Database, groups: Groups) -> None:
        self._database = database
        self._groups = groups
        self._overlays: dict[str, JobOverlay] = {}

    async def start(self) -> None:
        """Those of which the layer was not ended."""

        def load(conn: Connection) -> list[tuple[str, str]]:
            names = layer_store.live_names(conn, "overlay")
            ids = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
            return [
                (row.id, row.spec)
                for job_id in ids
                for row in conn.execute(select(jobs.c.id, jobs.c.spec).where(jobs.c.id == job_id))
            ]

        for job_id, text in await self._database.read(load):
            payload = read_spec(text).payload
            if isinstance(payload, ConfigPayload):
                self._put(job_id, payload.priority)

    def add(self, record: Record) -> None:
        """A job was committed. One with a cron rule has no nodes; its occurrences have layers."""
        payload = record.spec.payload
        if isinstance(payload, ConfigPayload) and record.spec.start.cron is None:
            self._put(record.id, payload.priority)

    def _put(self, job_id: str, priority: int) -> None:
        name = overlay_name(job_id)
        self._overlays[name] = JobOverlay(name=name, selector=name, priority=priority)

    # What the configuration's room asks

    def overlays(self) -> tuple[OverlayLike, ...]:
        mine: Iterable[OverlayLike] = sorted(self._overlays.values(), key=lambda each: each.name)
        return tuple(sorted([*self._groups.overlays(), *mine], key=lambda each: each.priority))

    async def members(self, selector: str, /) -> frozenset[str]:
        if selector in self._overlays:
            job_id = selector.removeprefix(PREFIX)
            return await self._database.read(lambda conn: layer_members(conn, job_id))
        return await self._groups.members(selector)

    @property
    def tree(self) -> Paths:
        return self._groups.tree

    async def guard(self, change: LayerChange) -> None:
        """A job's layer is its own; when the job is over a person may end it, no more."""
        address = change.address
        if address.kind != "overlay" or address.name not in self._overlays:
            return
        if change.patch is not None:
            raise _owned(address.name, "it can't be written, only ended when the job is over")
        job_id = address.name.removeprefix(PREFIX)
        state = await self._database.read(
            lambda conn: conn.execute(select(jobs.c.state).where(jobs.c.id == job_id)).scalar()
        )
        if state is not None and state not in OVER:
            raise _owned(address.name, f"the job is {state}; abort it or roll it back first")


def _owned(name: str, why: str) -> Problem:
    return Problem(
        status=409,
        title="The layer is a job's",
        field="layer",
        detail=f"{name} belongs to the job {name.removeprefix(PREFIX)}: {why}",
    )
