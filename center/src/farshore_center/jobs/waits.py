"""What a job waits for, in a sentence for people. Pure; it decides nothing."""

from farshore_center.events.instant import rfc3339
from farshore_center.jobs.engine import UNFINISHED
from farshore_center.jobs.lifecycle import OVER
from farshore_center.jobs.state import Place, Snapshot


def waits_for(snapshot: Snapshot, now_ms: int, opens_ms: int | None) -> str | None:
    """None: for nothing, it is over."""
    job = snapshot.job
    if job.state in OVER:
        return None
    if job.state == "scheduled":
        return f"its time: {rfc3339(job.start_ms)}"
    active = sum(each.state in ("active", "undoing") for each in snapshot.nodes)
    answers = f"{active} nodes that are under way"
    if job.state == "awaiting_approval":
        return f"a person: approve wave {job.wave + 1}"
    if job.state in ("paused", "halted"):
        more = f"; {answers}" if active else ""
        return f"a person: resume, abort or roll back{more}"
    if job.state == "rolling_back":
        return answers
    return _running(snapshot, now_ms, opens_ms, active, answers)


def _running(
    snapshot: Snapshot, now_ms: int, opens_ms: int | None, active: int, answers: str
) -> str:
    job, places = snapshot.job, snapshot.facts.places
    wave = [each for each in snapshot.nodes if each.wave == job.wave and job.wave]
    if any(each.state in UNFINISHED for each in wave):
        ready = [each for each in wave if each.state in ("waiting", "retrying")]
        closed = sum(not places.get(each.node, Place()).open for each in ready)
        said = [answers] if active else []
        if closed:
            when = "" if opens_ms is None else f", the next opens {rfc3339(opens_ms)}"
            said.append(f"the maintenance windows of {closed} nodes{when}")
        if len(ready) > closed:
            said.append(f"room for {len(ready) - closed} nodes (limits at once, budgets)")
        return "; ".join(said) or answers
    if job.wave_ended_ms is not None:
        soaked_ms = job.wave_ended_ms + round(job.rules.soak_s * 1000)
        if now_ms < soaked_ms:
            return f"the soak of wave {job.wave}, until {rfc3339(soaked_ms)}"
        shut = [verdict.detail for verdict in snapshot.facts.gates if not verdict.holds]
        if shut:
            return f"a gate: {'; '.join(shut)}"
    if job.following:
        return "nodes that come to match the selector"
    return answers
