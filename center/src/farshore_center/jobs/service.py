"""What people do with jobs: make, look, pause, resume, approve, abort, roll back.

Each is one transaction with a row of history that says who. It does not know HTTP.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog
from farshore_protocol.ids import Ids
from sqlalchemy import Connection

from farshore_center.api.problems import Problem
from farshore_center.commands.request import check_key
from farshore_center.config.request import Signed, check_match
from farshore_center.db.database import Database
from farshore_center.events import Event, EventLog
from farshore_center.events.model import Draft
from farshore_center.jobs import store
from farshore_center.jobs.apply import forgive
from farshore_center.jobs.bodies import JobBody
from farshore_center.jobs.calls import TO, check, conflict
from farshore_center.jobs.ledger import Kept, Ledger
from farshore_center.jobs.lifecycle import BAD
from farshore_center.jobs.making import Maker, digest_of
from farshore_center.jobs.overlays import JobOverlays
from farshore_center.jobs.preview import Preview, previewed
from farshore_center.jobs.reading import JobReader, known
from farshore_center.jobs.record import NodeRecord, Record, Step, count, snapshot_of
from farshore_center.jobs.runner import Runner
from farshore_center.jobs.state import JobTo, Snapshot
from farshore_center.jobs.views import JobView

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    view: JobView
    repeated: bool = False


class JobService:
    def __init__(
        self,
        database: Database,
        events: EventLog,
        maker: Maker,
        ledger: Ledger,
        runner: Runner,
        reader: JobReader,
        overlays: JobOverlays,
        *,
        now_ms: Callable[[], int],
        ids: Ids,
    ) -> None:
        self._database = database
        self._events = events
        self._maker = maker
        self._ledger = ledger
        self._runner = runner
        self._reader = reader
        self._overlays = overlays
        self._now_ms = now_ms
        self._ids = ids
        self._under_way: set[asyncio.Task[Any]] = set()

    # Making

    async def find_repeated(self, body: JobBody, key: str) -> JobView | None:
        """What the key has made; Problem when that was for another request."""
        check_key(key)
        found = await self._database.read(lambda conn: _earlier(conn, key, digest_of(body)))
        return None if found is None else await self._reader.get(found)

    async def create(self, body: JobBody, by: Signed, key: str | None = None) -> Made:
        """Problem 422 for what is wrong with it."""
        return await self._finish(self._create(body, by, key))

    async def _create(self, body: JobBody, by: Signed, key: str | None) -> Made:
        ready = await self._maker.accepted(body)
        digest = digest_of(body)

        def work(conn: Connection) -> tuple[str | None, Record | None, list[Event]]:
            earlier = None if key is None else _earlier(conn, key, digest)
            if earlier is not None:
                return earlier, None, []
            now_ms = self._now_ms()
            record = self._maker.record(
                ready,
                self._ids.command(now_ms),
                author=by.author,
                message=by.message,
                now_ms=now_ms,
            )
            events = self._maker.insert(conn, record, list(ready.members), key=key, digest=digest)
            return None, record, events

        earlier, record, events = await self._database.write(work)
        if record is None:
            return Made(view=await self._reader.get(earlier or ""), repeated=True)
        self._overlays.add(record)
        self._runner.counts.made += 1
        log.info("job made", job=record.id, name=body.name, nodes=len(ready.members), by=by.author)
        self._events.announce(events)
        self._runner.look_now(record.id)
        return Made(view=await self._reader.get(record.id))

    async def preview(self, body: JobBody) -> Preview:
        """What the job would be; Problem for a payload or a selector that is wrong."""
        ready = await self._maker.check(body)
        return previewed(ready, self._ids.command(self._now_ms()), self._now_ms())

    # Deciding

    async def act(
        self,
        call: str,
        job_id: str,
        by: Signed,
        *,
        if_match: str | None = None,
        deadline_s: float | None = None,
    ) -> JobView:
        """``call``: pause, resume, abort or rollback. Problem 409 when the state does not permit it."""

        def decide(conn: Connection, record: Record, now_ms: int) -> Kept | None:
            if record.job.state == TO[call]:
                return None
            check(call, record)
            nodes = store.load_nodes(conn, job_id)
            ready = _prepared(conn, call, record, nodes, deadline_s, now_ms)
            actions = [JobTo(TO[call], by.message or None)]
            return self._ledger.write(
                conn, record, nodes, ready, actions, by=by.author, now_ms=now_ms
            )

        return await self._finish(self._decided(call, job_id, by, if_match, decide))

    async def approve(
        self, job_id: str, by: Signed, *, wave: int | None = None, if_match: str | None = None
    ) -> JobView:
        """The next wave may begin; who said so stands with the wave."""

        def decide(conn: Connection, record: Record, now_ms: int) -> Kept | None:
            job = record.job
            if wave is not None and wave <= job.approved:
                return None  # said before
            check("approve", record)
            number = job.wave + 1
            if wave not in (None, number):
                raise conflict(record, f"wave {number} waits for approval, not {wave}")
            nodes = store.load_nodes(conn, job_id)
            snapshot = snapshot_of(record, nodes)
            snapshot = replace(snapshot, job=replace(job, approved=number))
            store.save_wave(conn, job_id, number, approved_by=by.author, approved_ms=now_ms)
            step = Step(state="approved", wave=number, reason=by.message or None)
            store.add_steps(conn, job_id, [step], now_ms, by.author)
            data = {"wave": number, "what": "approved", "size": 0, "nodes": 0, "by": by.author}
            counts = count(snapshot.nodes)
            draft = Draft(kind="job.wave", job=job_id, data=data | {"counts": counts}, at_ms=now_ms)
            actions = [JobTo("running", f"wave {number} was approved")]
            return self._ledger.write(
                conn,
                record,
                nodes,
                snapshot,
                actions,
                by=by.author,
                now_ms=now_ms,
                more=[draft],
            )

        return await self._finish(self._decided("approve", job_id, by, if_match, decide))

    async def _decided(
        self,
        call: str,
        job_id: str,
        by: Signed,
        if_match: str | None,
        decide: Callable[[Connection, Record, int], Kept | None],
    ) -> JobView:
        def work(conn: Connection) -> Kept | None:
            record = known(conn, job_id)
            check_match(f"the job {job_id}", record.revision, if_match)
            return decide(conn, record, self._now_ms())

        kept = await self._database.write(work)
        if kept is not None:
            log.info("a person decided on a job", job=job_id, call=call, by=by.author)
            self._events.announce(kept.events)
            self._runner.look_now(job_id)
        return await self._reader.get(job_id)

    async def _finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Whoever asked may go away; what was committed must still be announced and sent."""
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)


def _prepared(
    conn: Connection,
    call: str,
    record: Record,
    nodes: Sequence[NodeRecord],
    deadline_s: float | None,
    now_ms: int,
) -> Snapshot:
    """The snapshot that a person's call begins with: forgiven, soaked anew, with a new deadline."""
    snapshot = snapshot_of(record, nodes)
    if call != "resume":
        return snapshot
    job = record.job
    if deadline_s is not None:
        job = replace(job, deadline_ms=now_ms + round(deadline_s * 1000))
    if job.deadline_ms is not None and now_ms >= job.deadline_ms:
        raise Problem(
            status=409,
            title="The deadline has passed",
            field="deadline_s",
            detail="the job would halt at once",
            expected="a new deadline, in seconds from now",
        )
    if job.wave_ended_ms is not None:
        job = replace(job, wave_ended_ms=now_ms)
    snapshot = replace(snapshot, job=job)
    if job.state != "halted":
        return snapshot
    store.forgive(conn, job.id, [each.node for each in snapshot.nodes if each.state in BAD])
    return forgive(snapshot)


def _earlier(conn: Connection, key: str, digest: str) -> str | None:
    made = store.by_key(conn, key)
    if made is None:
        return None
    job_id, digest_then = made
    if digest_then != digest:
        raise Problem(
            status=422,
            title="The key was used for another request",
            field="Idempotency-Key",
            detail=f"it made the job {job_id}, of which the request says something else",
            expected="a new key, or the same request",
        )
    return job_id
