"""Which calls of people a job permits. Pure."""

from farshore_center.api.problems import Problem
from farshore_center.jobs.lifecycle import JOB
from farshore_center.jobs.record import Record
from farshore_center.jobs.rules import CommandPayload
from farshore_center.jobs.state import Job

TO = {"pause": "paused", "resume": "running", "abort": "aborted", "rollback": "rolling_back"}
"""The state that a call asks for."""


def possible(job: Job, *, undo: bool, repeats: bool) -> list[str]:
    """The calls that the job's state permits. Pure."""
    found = [call for call, state in TO.items() if JOB.may(job.state, state)]
    if job.state in ("scheduled", "awaiting_approval"):
        found = [call for call in found if call != "resume"]
    if job.state == "awaiting_approval":
        found.insert(0, "approve")
    if not undo or repeats:
        found = [call for call in found if call != "rollback"]
    return found


def calls_of(record: Record) -> list[str]:
    payload = record.spec.payload
    undo = not isinstance(payload, CommandPayload) or payload.undo is not None
    return possible(record.job, undo=undo, repeats=record.spec.start.cron is not None)


def check(call: str, record: Record) -> None:
    can = calls_of(record)
    if call in can:
        return
    why = f"the job is {record.job.state}"
    if call == "rollback" and JOB.may(record.job.state, TO[call]):
        why = "the job has no way back: its command has no undo"
    raise conflict(record, why)


def conflict(record: Record, why: str) -> Problem:
    can = calls_of(record)
    return Problem(
        status=409,
        title="Not possible now",
        detail=f"{why}; possible now: {', '.join(can) or 'nothing'}",
        extra={"state": record.job.state, "can": can},
    )
