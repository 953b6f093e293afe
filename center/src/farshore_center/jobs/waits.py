"""What a job waits for, in a sentence for people. Pure; it decides nothing."""

from dataclasses import dataclass

from farshore_center.events.instant import rfc3339
from farshore_center.jobs.engine import UNFINISHED
from farshore_center.jobs.limits import UNDER_WAY
from farshore_center.jobs.moments import Moment, next_moment
from farshore_center.jobs.state import Job, Judged, Place, Snapshot
from farshore_center.words import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a job waits for. ``next``: when time alone moves it; ``judged``: verdicts on its gates that are
    newer than those of its row; ``revision``: of the job as it was looked at, None: of any."""

    waits_for: str | None = None
    next: Moment | None = None
    judged: Judged | None = None
    revision: int | None = None

    def fits(self, revision: int) -> bool:
        return self.revision in (None, revision)


def outlook_of(snapshot: Snapshot, now_ms: int, revision: int) -> Outlook:
    """Without verdicts."""
    return Outlook(
        waits_for=waits_for(snapshot, now_ms),
        next=next_moment(snapshot, now_ms),
        revision=revision,
    )


def waits_for(snapshot: Snapshot, now_ms: int) -> str | None:
    """None: for nothing, it is over."""
    active = sum(each.state in UNDER_WAY for each in snapshot.nodes)
    if snapshot.job.state == "running":
        return _running(snapshot, now_ms, active, _answers(active))
    return standing(snapshot.job, active)


def _answers(active: int) -> str:
    return f"{counted(active, 'node')} that {'is' if active == 1 else 'are'} under way"


def standing(job: Job, active: int) -> str | None:
    """Of a job that does not run; ``active``: nodes under way. None: for nothing, or it can't be said
    without a look at its nodes."""
    if job.state == "scheduled":
        return f"its time: {rfc3339(job.start_ms)}"
    if job.state == "awaiting_approval":
        return f"a person: approve wave {job.wave + 1}"
    if job.state in ("paused", "halted"):
        more = f"; {_answers(active)}" if active else ""
        return f"a person: resume, abort or roll back{more}"
    if job.state == "rolling_back":
        return _answers(active)
    return None


def _running(snapshot: Snapshot, now_ms: int, active: int, answers: str) -> str:
    job, places = snapshot.job, snapshot.facts.places
    wave = [each for each in snapshot.nodes if each.wave == job.wave and job.wave]
    if any(each.state in UNFINISHED for each in wave):
        ready = [each for each in wave if each.state in ("waiting", "retrying")]
        here = [places.get(each.node, Place()) for each in ready]
        closed = sum(not place.open for place in here)
        said = [answers] if active else []
        if closed:
            opens = [place.opens_ms for place in here if place.opens_ms is not None]
            when = f", the next opens {rfc3339(min(opens))}" if opens else ""
            windows = "maintenance window" if closed == 1 else "maintenance windows"
            said.append(f"the {windows} of {counted(closed, 'node')}{when}")
        if len(ready) > closed:
            room = counted(len(ready) - closed, "node")
            said.append(f"room for {room} (limits at once, budgets)")
        return "; ".join(said) or answers
    if job.soaked_ms is not None:
        if now_ms < job.soaked_ms:
            return f"the soak of wave {job.wave}, until {rfc3339(job.soaked_ms)}"
        shut = [verdict.detail for verdict in snapshot.facts.gates if not verdict.holds]
        if shut:
            return f"a gate: {'; '.join(shut)}"
    if job.following:
        return "nodes that come to match the selector"
    return answers
