"""Follow a job: its picture on a terminal, a line for each thing that happens on a pipe.

Events say that something happened, the job's record says what: it is looked at after them, and now
and then all the same. A job that a rule stopped is not followed further: it needs a person.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from farshore_center.cli.cells import clean, counted, instant_text
from farshore_center.cli.client import CenterClient, segment
from farshore_center.cli.errors import DONE, FAILED, UnreachableError
from farshore_center.cli.follow import Listener, Look
from farshore_center.cli.gather import MANY_GROUPS, Answer, gathered
from farshore_center.cli.job_view import job_lines
from farshore_center.cli.job_waves import BAD, OVER, Job
from farshore_center.cli.live import LivePicture, can_live
from farshore_center.cli.progress import summary_text
from farshore_center.cli.screen import Line, plain, rich_text
from farshore_center.cli.session import Session
from farshore_center.cli.watching import Watching

ENDS = (*OVER, "halted")
"""States in which following ends."""

PIPE_WIDTH = 10_000
"""A pipe's lines are not broken."""

MAX_FAILURES = 1000
_OTHER_LINES = 14
_LEAST_WAVES = 3


class Watch(Watching[Job]):
    """Silent until the end: for ``--json``."""

    def __init__(self, session: Session, client: CenterClient) -> None:
        super().__init__(session)
        self.client = client

    def conclude(self, job: Job, failures: list[Answer]) -> None:
        del failures
        self.session.document(job)


class Happenings(Watch):
    """A line for each thing that happened: for a pipe."""

    def show(self, job: Job) -> None:
        now = instant_text(self.client.now_ms())
        for line in happened(self.last, job, now):
            self.session.text(line)
        super().show(job)

    def conclude(self, job: Job, failures: list[Answer]) -> None:
        show_job(self.session, job, self.client.now_ms(), failures)


class Picture(LivePicture[Job], Watch):
    """A picture that lives: for a terminal."""

    def lines(self, found: Job, width: int, height: int) -> list[Line]:
        waves = max(_LEAST_WAVES, height - _OTHER_LINES)
        lines = job_lines(found, self.client.now_ms(), width, waves=waves, at=self.session.at)
        foot = self.foot("the job")
        return [*lines[: max(1, height - len(foot))], *foot]

    def conclude(self, job: Job, failures: list[Answer]) -> None:
        show_job(self.session, job, self.client.now_ms(), failures)


def of(session: Session, client: CenterClient) -> Watch:
    """The view that suits whoever looks on."""
    if session.as_json:
        return Watch(session, client)
    if can_live(session):
        return Picture(session, client)
    return Happenings(session, client)


def happened(before: Job | None, job: Job, now: str) -> Iterator[str]:
    """What is new in a job's record; waves with their own times, the rest as of ``now``.

    Of a job that was not seen before, only its state: what was, the history tells.
    """
    why = f": {clean(job['reason'])}" if job.get("reason") else ""
    news = before is None or (before["state"], before["reason"]) != (job["state"], job["reason"])
    state_line = (
        [f"{clean(_since(before, job) or now)}  {clean(job['state'])}{why}"] if news else []
    )
    # It runs before its waves do, and is stopped after them.
    first = job["state"] in ("scheduled", "running")
    yield from state_line if first else []
    known = {each["number"]: each for each in (before or job).get("waves") or ()}
    for wave in job.get("waves") or ():
        yield from _wave_happened(known.get(wave["number"]) or {"state": "planned"}, wave)
    yield from [] if first else state_line


def _since(before: Job | None, job: Job) -> str | None:
    """When the job came to its state, where its record has it."""
    if job["state"] == "scheduled":
        return str(job["created_at"])
    begun = before is not None and before["state"] == "scheduled" and job["state"] == "running"
    return job.get("started_at") if begun else job.get("ended_at")


def _wave_happened(old: Mapping[str, Any], wave: Mapping[str, Any]) -> Iterator[str]:
    name = f"wave {wave['number']}"
    if old["state"] == "planned" and wave["state"] != "planned":
        by = f", approved by {clean(wave['approved_by'])}" if wave.get("approved_by") else ""
        yield f"{clean(wave['opened_at'])}  {name} opened: {counted(wave['nodes'], 'node')}{by}"
    if old["state"] != "ended" and wave["state"] == "ended":
        yield f"{clean(wave['ended_at'])}  {name} ended: {summary_text(wave['counts'])}"


async def watch(client: CenterClient, job: Job, view: Watch) -> Job:
    """The job's record once it is over, or stopped by a rule."""
    job_id = job["id"]
    listener = Listener(client, {"job": job_id})
    task = asyncio.create_task(listener.run())
    look = Look(client, f"/jobs/{segment(job_id)}", view)
    try:
        view.show(job)
        while job["state"] not in ENDS:
            await listener.next()
            job = await look.at_record(job)
            view.show(job)
        return job
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def failures_of(client: CenterClient, job: Job) -> list[Answer]:
    """The nodes that failed, those that failed alike together."""
    if not any(job["counts"].get(name) for name in BAD):
        return []
    job_id = job["id"]
    params = {"state": ",".join(BAD)}
    items = await client.items(f"/jobs/{segment(job_id)}/nodes", params, at_most=MAX_FAILURES)
    return gathered(items, MANY_GROUPS)


async def to_the_end(session: Session, client: CenterClient, job: Job) -> int:
    """Follow a job, and conclude. 0 only for one that succeeded or was rolled back as was wanted."""
    wanted = "rolled_back" if job["state"] == "rolling_back" else "succeeded"
    view = of(session, client)
    try:
        with view:
            end = await watch(client, job, view)
    except asyncio.CancelledError:
        if session.as_json:
            session.document(view.last or job)
        session.note(_detached(session, view.last or job))
        raise
    except UnreachableError:
        session.note(f"farshore: the job goes on: farshore{session.at} job watch {job['id']}")
        raise
    view.conclude(end, await failures_of(client, end))
    undone = end["counts"].get("undo_failed", 0) == 0
    return DONE if end["state"] == wanted and (wanted == "succeeded" or undone) else FAILED


def _detached(session: Session, job: Job) -> str:
    prefix, job_id = f"farshore{session.at} job", clean(job["id"])
    return (
        "\ndetached; the job goes on\n"
        f"  see it again: {prefix} watch {job_id}\n"
        f"  hold it:      {prefix} pause {job_id}\n"
        f"  end it:       {prefix} abort {job_id}"
    )


def show_job(session: Session, job: Job, now_ms: int, failures: list[Answer]) -> None:
    """The whole picture, once."""
    if session.terminal:
        console = session.console()
        width = console.width
        lines = job_lines(job, now_ms, width, failures=failures, at=session.at)
        console.print(rich_text(lines), soft_wrap=True)
    else:
        lines = job_lines(job, now_ms, PIPE_WIDTH, failures=failures, at=session.at)
        session.text(plain(lines))
