"""The loop of jobs: load, decide, persist, act. One step of one job in each transaction.

In memory alone is when to look at which job; what is true stands in the database and is read before
every step. So a center that is killed goes on from the last step that was kept.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import structlog

from farshore_center.db.database import Database
from farshore_center.errors import CenterError
from farshore_center.events import EventFilter, EventLog
from farshore_center.jobs import store
from farshore_center.jobs.engine import plan
from farshore_center.jobs.hearing import heard
from farshore_center.jobs.ledger import Kept, Ledger
from farshore_center.jobs.loaded import Loaded, explained, listens, load
from farshore_center.jobs.moments import Moment
from farshore_center.jobs.occurrences import Occurrences
from farshore_center.jobs.record import CENTER, Record, snapshot_of
from farshore_center.jobs.settings import JobSettings
from farshore_center.jobs.state import Action, Judged, Snapshot, StartNodes, UndoNodes
from farshore_center.jobs.surroundings import Surroundings
from farshore_center.jobs.waits import Outlook, outlook_of
from farshore_center.jobs.ways import Ways
from farshore_center.sending import LONGEST_WAIT_S, woken

log = structlog.get_logger(__name__)

HELD = "a person: the center was restored from a backup, see GET /api/v1/center"
_MOST_STEPS = 10_000
"""Of one job in one round; more is a defect, and must not stop the others."""


@dataclass(slots=True)
class JobCounts:
    """Since the start."""

    made: int = 0
    steps: int = 0
    nodes_started: int = 0
    nodes_undone: int = 0
    overtaken: int = 0
    occurrences: int = 0
    occurrences_left_out: int = 0


class Runner:
    """``held``: whether nothing may be sent now, because the center was restored from a backup."""

    def __init__(
        self,
        database: Database,
        events: EventLog,
        ways: Ways,
        ledger: Ledger,
        surroundings: Surroundings,
        occurrences: Occurrences,
        *,
        now_ms: Callable[[], int],
        held: Callable[[], bool],
        settings: JobSettings,
        counts: JobCounts,
    ) -> None:
        self._database = database
        self._events = events
        self._ways = ways
        self._ledger = ledger
        self._surroundings = surroundings
        self._occurrences = occurrences
        self._now_ms = now_ms
        self._held = held
        self._settings = settings
        self._look_ms: dict[str, int | None] = {}
        self._outlooks: dict[str, Outlook] = {}
        self._judged: dict[str, Judged] = {}
        self._deaf: set[str] = set()
        """Jobs for which no news can change anything: only a person or the time can."""
        self._took_s = 0.0
        self._woken = asyncio.Event()
        self.counts = counts

    @property
    def live(self) -> int:
        return len(self._look_ms)

    def outlook(self, job_id: str) -> Outlook:
        """What a job that is not over waits for, as of the last look."""
        found = self._outlooks.get(job_id, Outlook())
        return replace(found, judged=self._judged.get(job_id))

    def look_now(self, job_id: str) -> None:
        self._outlooks.pop(job_id, None)  # it was of before what happened now
        self._look_ms[job_id] = self._now_ms()
        self._woken.set()

    def wake(self) -> None:
        """Looks at the clock."""
        self._woken.set()

    def _news(self) -> None:
        for job_id in self._look_ms.keys() - self._deaf:
            self._look_ms[job_id] = self._now_ms()
            self._woken.set()

    def _forget(self, job_id: str) -> None:
        self._look_ms.pop(job_id, None)
        self._outlooks.pop(job_id, None)
        self._judged.pop(job_id, None)
        self._deaf.discard(job_id)

    async def run(self) -> None:
        """Until it is cancelled. A database that fails is tried again: what is due stays due."""
        await self.load()
        watching = asyncio.create_task(self._watch(), name="news of jobs")
        try:
            while True:
                self._woken.clear()
                await self.round()
                await self._wait()
        finally:
            watching.cancel()

    async def load(self) -> None:
        """Every job that is not over is looked at."""
        for job_id in await self._database.read(store.live):
            self._look_ms[job_id] = self._now_ms()

    async def _watch(self) -> None:
        """Whatever happens in the fleet may be what a job waits for; looked at together."""
        with self._events.subscribe(EventFilter()) as subscription:
            while not self._events.closed:
                subscription.rearm()
                if not await subscription.news(LONGEST_WAIT_S):
                    continue
                # What takes long is not to be done all the time.
                await asyncio.sleep(max(self._settings.gather_s, self._took_s))
                self._news()

    async def _wait(self) -> None:
        due = [look_ms for look_ms in self._look_ms.values() if look_ms is not None]
        await woken(self._woken, (min(due) - self._now_ms()) / 1000 if due else None)

    async def round(self) -> None:
        """Every job that is due now, as far as it goes."""
        now_ms = self._now_ms()
        # Not by the wall clock: one that is set meanwhile would make the loop deaf for as long.
        began_s = asyncio.get_running_loop().time()
        due = [job for job, look_ms in self._look_ms.items() if look_ms is not None]
        for job_id in [job for job in due if (self._look_ms.get(job) or 0) <= now_ms]:
            self._look_ms[job_id] = None
            self._deaf.discard(job_id)
            try:
                await self._advance(job_id)
            except CenterError as exc:
                log.error("a job can't go on now", job=job_id, reason=str(exc))
                self._put_off(job_id, str(exc))
            except Exception as exc:
                # A defect; it must stop this job alone, not the center and all the others.
                log.exception("a job broke the loop of jobs", job=job_id)
                self._put_off(job_id, repr(exc))
        self._took_s = asyncio.get_running_loop().time() - began_s

    def _put_off(self, job_id: str, why: str) -> None:
        again_ms = self._now_ms() + round(self._settings.retry_s * 1000)
        self._outlooks[job_id] = Outlook(
            waits_for=f"the center can't decide now: {why}",
            next=Moment(again_ms, "the center looks again"),
        )
        self._look_ms[job_id] = again_ms

    async def _advance(self, job_id: str) -> None:
        for _ in range(_MOST_STEPS):
            loaded = await self._database.read(lambda conn: load(conn, job_id))
            if loaded is None or loaded.at_rest:
                self._forget(job_id)
                return
            if self._held():
                self._outlooks[job_id] = Outlook(waits_for=HELD)
                return
            if loaded.record.spec.start.cron is not None:
                await self._occur(loaded.record)
                return
            if not await self._step(loaded):
                return
        log.error("a job does not come to rest", job=job_id)

    async def _step(self, loaded: Loaded) -> bool:
        """Whether there may be another one at once."""
        record = loaded.record
        nodes = heard(loaded.nodes, loaded.words)
        now_ms = self._now_ms()
        facts = await self._surroundings.gather(record, nodes, now_ms)
        snapshot = snapshot_of(record, nodes, facts)
        actions = [explained(each, loaded) for each in plan(snapshot, now_ms)]
        if not actions:
            await self._judge(record, snapshot, now_ms)
            self._rest(record, snapshot, now_ms)
            return False
        kept = await self._keep(loaded, snapshot, actions, now_ms)
        if kept is None:
            self.counts.overtaken += 1
        else:
            self._note(kept, actions)
        return True

    async def _keep(
        self, loaded: Loaded, snapshot: Snapshot, actions: Sequence[Action], now_ms: int
    ) -> Kept | None:
        record = loaded.record
        async with AsyncExitStack() as stack:
            telling = None
            for action in actions:
                if isinstance(action, StartNodes | UndoNodes):
                    undo = isinstance(action, UndoNodes)
                    telling = await stack.enter_async_context(
                        self._ways.telling(record, action.nodes, undo=undo)
                    )
            return await self._database.write(
                lambda conn: self._ledger.write(
                    conn,
                    record,
                    loaded.nodes,
                    snapshot,
                    actions,
                    by=CENTER,
                    now_ms=now_ms,
                    telling=telling,
                )
            )

    def _note(self, kept: Kept, actions: Sequence[Action]) -> None:
        self.counts.steps += 1
        self._judged.pop(kept.record.id, None)  # the row has them, or newer ones
        self._outlooks[kept.record.id] = outlook_of(
            kept.snapshot, self._now_ms(), kept.record.revision
        )
        for action in actions:
            if isinstance(action, StartNodes):
                self.counts.nodes_started += len(action.nodes)
            elif isinstance(action, UndoNodes):
                self.counts.nodes_undone += len(action.nodes)
        if kept.snapshot.job.state == "halted":
            log.warning("a job has halted", job=kept.record.id, reason=kept.snapshot.job.reason)
        self._events.announce(kept.events)

    async def _judge(self, record: Record, snapshot: Snapshot, now_ms: int) -> None:
        """Keeps verdicts that moved nothing: in the database when a gate opened or shut, else here."""
        if not snapshot.facts.gates:
            return
        judged = Judged(now_ms, snapshot.facts.gates)
        self._judged[record.id] = judged
        if record.judged is None or record.judged.held != judged.held:
            await self._database.write(lambda conn: store.save_judged(conn, record, judged))

    def _rest(self, record: Record, snapshot: Snapshot, now_ms: int) -> None:
        outlook = outlook_of(snapshot, now_ms, record.revision)
        self._outlooks[snapshot.job.id] = outlook
        if not listens(snapshot):
            self._deaf.add(snapshot.job.id)
        times = [] if outlook.next is None else [outlook.next.at_ms]
        if snapshot.facts.gates:
            times.append(now_ms + round(self._settings.gate_s * 1000))
        if snapshot.job.following:
            times.append(now_ms + round(self._settings.follow_s * 1000))
        if self._look_ms.get(snapshot.job.id) is None:  # else there was news meanwhile
            self._look_ms[snapshot.job.id] = min(times, default=None)

    async def _occur(self, record: Record) -> None:
        """A job with a cron rule: its occurrence, when its time has come."""
        now_ms = self._now_ms()
        due_ms = record.next_ms or 0
        if now_ms < due_ms:
            self._look_ms[record.id] = due_ms
            self._deaf.add(record.id)
            self._outlooks[record.id] = Outlook(
                waits_for="its next occurrence", next=Moment(due_ms, "the next occurrence")
            )
            return
        made = await self._occurrences.make(record, now_ms)
        if made.job_id is not None:
            self.counts.occurrences += 1
            self._look_ms[made.job_id] = now_ms
        self.counts.occurrences_left_out += made.left_out
        self._look_ms[record.id] = now_ms
