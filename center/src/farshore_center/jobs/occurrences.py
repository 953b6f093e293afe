"""A job with a cron rule makes a job for each occurrence: never two for one, and none too late."""

from dataclasses import dataclass, replace

import structlog
from farshore_protocol.ids import Ids
from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.db.database import Database
from farshore_center.events import Event, EventLog, rfc3339
from farshore_center.events.model import Draft
from farshore_center.jobs import store, windows
from farshore_center.jobs.bodies import StartIn
from farshore_center.jobs.making import Checked, Maker
from farshore_center.jobs.overlays import JobOverlays
from farshore_center.jobs.record import CENTER, Record, Step
from farshore_center.jobs.settings import JobSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurred:
    """``job_id``: the job that was made; None: the occurrence was left out."""

    job_id: str | None = None

    @property
    def left_out(self) -> bool:
        return self.job_id is None


class Occurrences:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        maker: Maker,
        overlays: JobOverlays,
        *,
        ids: Ids,
        settings: JobSettings,
    ) -> None:
        self._database = database
        self._events = events
        self._maker = maker
        self._overlays = overlays
        self._ids = ids
        self._settings = settings

    async def make(self, record: Record, now_ms: int) -> Occurred:
        """The occurrence that is due; the next one is decided in the same transaction."""
        due_ms = record.next_ms or now_ms
        why = self._too_late(due_ms, now_ms)
        ready: Checked | None = None
        if why is None:
            try:
                body = record.body.model_copy(update={"start": StartIn()})
                ready = await self._maker.accepted(body)
            except Problem as exc:
                why = f"it can't be made: {exc}"
        made, events = await self._database.write(
            lambda conn: self._write(conn, record, ready, why, due_ms, now_ms)
        )
        if made is not None:
            self._overlays.add(made)
        self._events.announce(events)
        return Occurred(job_id=None if made is None else made.id)

    def _too_late(self, due_ms: int, now_ms: int) -> str | None:
        if now_ms - due_ms <= self._settings.late_s * 1000:
            return None
        return f"missed: the center was not there at {rfc3339(due_ms)}, nor soon after"

    def _write(
        self,
        conn: Connection,
        record: Record,
        ready: Checked | None,
        why: str | None,
        due_ms: int,
        now_ms: int,
    ) -> tuple[Record | None, list[Event]]:
        alive = store.children_alive(conn, record.id)
        if alive and why is None:
            why = f"the job {alive[0]} of an earlier occurrence is not over"
        start = record.spec.start
        zone = windows.zone(start.timezone)
        next_ms = None if start.cron is None else windows.next_ms(start.cron, zone, now_ms)
        after = replace(
            record,
            revision=record.revision + 1,
            next_ms=next_ms,
            job=replace(record.job, start_ms=next_ms or record.job.start_ms),
        )
        if not store.save(conn, record, after):
            return None, []  # a person was quicker; it is looked at again
        made, events = None, []
        if ready is not None and why is None:
            made = self._child(ready, record, due_ms, now_ms)
            events = self._maker.insert(conn, made, list(ready.members))
            step = Step(state="occurrence", reason=f"{rfc3339(due_ms)}: the job {made.id}")
        else:
            step = Step(state="left_out", reason=f"{rfc3339(due_ms)}: {why}")
            log.warning("an occurrence of a job was left out", job=record.id, reason=why)
            data = {"state": "left_out", "before": record.job.state, "reason": step.reason}
            draft = Draft(
                kind="job.state",
                job=record.id,
                data=data | {"by": CENTER, "wave": 0, "counts": {}},
                at_ms=now_ms,
            )
            events = self._events.append(conn, [draft])
        store.add_steps(conn, record.id, [step], now_ms, CENTER)
        return made, events

    def _child(self, ready: Checked, parent: Record, due_ms: int, now_ms: int) -> Record:
        child = self._maker.record(
            ready,
            self._ids.command(now_ms),
            author=parent.author,
            message=parent.message,
            now_ms=now_ms,
        )
        return replace(child, parent=parent.id, occurrence_ms=due_ms)
