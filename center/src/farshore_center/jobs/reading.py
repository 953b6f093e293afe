"""Jobs as people look at them: one, many, their nodes, their history."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.jobs import questions, store
from farshore_center.jobs.limits import UNDER_WAY
from farshore_center.jobs.record import NodeRecord, Record, count
from farshore_center.jobs.views import JobView, planned_waves
from farshore_center.jobs.waits import Outlook, standing

STAYS_NAMES = 1000
STOPPED = ("halted", "aborted")
"""States in which the document says what the job has done and leaves as it is."""


class JobReader:
    """``outlook``: what a job waits for, as of the last look at it."""

    def __init__(self, database: Database, outlook: Callable[[str], Outlook]) -> None:
        self._database = database
        self._outlook = outlook

    async def get(self, job_id: str) -> JobView:
        def read(conn: Connection) -> JobView:
            record = known(conn, job_id)
            by_wave = questions.wave_counts(conn, job_id)
            counts = _summed(by_wave)
            return JobView(
                record=record,
                counts=counts,
                touched=questions.touched(conn, [job_id]).get(job_id, 0),
                outlook=self._fitting(record, counts),
                waves=planned_waves(record, questions.wave_rows(conn, job_id), by_wave),
                stays=_stays(store.load_nodes(conn, job_id))
                if record.job.state in STOPPED
                else None,
            )

        return await self._database.read(read)

    def _fitting(self, record: Record, counts: Mapping[str, int]) -> Outlook:
        """The last look, or what follows from the row where that is newer: never a sentence of before."""
        found = self._outlook(record.id)
        if found.fits(record.revision):
            return found
        active = sum(counts.get(state, 0) for state in UNDER_WAY)
        return Outlook(waits_for=standing(record.job, active), judged=found.judged)

    async def page(
        self,
        limit: int,
        before: tuple[int, str] | None = None,
        states: Sequence[str] = (),
        parent: str | None = None,
    ) -> list[JobView]:
        """Jobs, the newest first, without waves."""

        def read(conn: Connection) -> list[JobView]:
            found = questions.newest(conn, limit, before, states, parent)
            ids = [record.id for record in found]
            counts, touched = questions.state_counts(conn, ids), questions.touched(conn, ids)
            return [
                JobView(
                    record=record,
                    counts=counts.get(record.id, {}),
                    touched=touched.get(record.id, 0),
                    outlook=self._fitting(record, counts.get(record.id, {})),
                )
                for record in found
            ]

        return await self._database.read(read)

    async def nodes(
        self,
        job_id: str,
        limit: int,
        after: tuple[int, str] | None = None,
        states: Sequence[str] = (),
        wave: int | None = None,
    ) -> tuple[Record, list[NodeRecord]]:
        def read(conn: Connection) -> tuple[Record, list[NodeRecord]]:
            record = known(conn, job_id)
            return record, questions.node_page(conn, job_id, limit, after, states, wave)

        return await self._database.read(read)

    async def history(
        self, job_id: str, limit: int, after: int = 0, node: str | None = None
    ) -> list[Any]:
        def read(conn: Connection) -> list[Any]:
            known(conn, job_id)
            return questions.history(conn, job_id, limit, after, node)

        return await self._database.read(read)


def known(conn: Connection, job_id: str) -> Record:
    record = store.load(conn, job_id)
    if record is None:
        raise Problem(
            status=404, title="No such job", detail=f"there is no job {job_id[:64]!a}", field="id"
        )
    return record


def _stays(nodes: Sequence[NodeRecord]) -> dict[str, Any]:
    """What a job that was stopped leaves as it is."""
    touched = [each.each for each in nodes if each.each.attempts]
    return {
        "touched": len(touched),
        "counts": count(touched),
        "under_way": sum(each.state in UNDER_WAY for each in touched),
        "nodes": [each.node for each in touched[:STAYS_NAMES]],
    }


def _summed(by_wave: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for counts in by_wave.values():
        for state, number in counts.items():
            found[state] = found.get(state, 0) + number
    return found
