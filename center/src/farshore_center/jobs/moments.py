"""When time alone moves a job, and what happens then. Pure; the decision itself is `engine.plan`."""

from collections.abc import Iterator
from typing import NamedTuple

from farshore_center.jobs.engine import LIVE, node_deadline_ms
from farshore_center.jobs.limits import UNDER_WAY
from farshore_center.jobs.state import Place, Snapshot


class Moment(NamedTuple):
    """`what`: for people."""

    at_ms: int
    what: str


def next_moment(snapshot: Snapshot, now_ms: int) -> Moment | None:
    """None: only news or a person can change what the job does."""
    return min((each for each in _moments(snapshot) if each.at_ms > now_ms), default=None)


def _moments(snapshot: Snapshot) -> Iterator[Moment]:
    job = snapshot.job
    if job.state == "scheduled":
        yield Moment(job.start_ms, "the job starts")
        return
    if job.state in LIVE and job.deadline_ms is not None:
        yield Moment(job.deadline_ms, "the job's deadline")
    for each in snapshot.nodes:
        if each.state in UNDER_WAY:
            yield Moment(node_deadline_ms(each, job), f"the deadline of {each.node}")
    if job.state == "running":
        yield from _of_wave(snapshot)


def _of_wave(snapshot: Snapshot) -> Iterator[Moment]:
    job, places = snapshot.job, snapshot.facts.places
    if job.soaked_ms is not None:
        yield Moment(job.soaked_ms, f"the soak of wave {job.wave} ends")
        wait_ms = round(job.rules.gate_wait_s * 1000)
        if job.rules.gates and wait_ms:
            yield Moment(job.soaked_ms + wait_ms, f"the time of wave {job.wave}'s gates is up")
    opens = [
        opens_ms
        for each in snapshot.nodes
        if each.wave == job.wave and job.wave and each.state in ("waiting", "retrying")
        if (opens_ms := places.get(each.node, Place()).opens_ms) is not None
    ]
    if opens:
        yield Moment(min(opens), "a maintenance window opens")
