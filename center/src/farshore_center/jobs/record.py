"""A job as it is stored, and what a step of it writes: rows of history and events. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import orjson

from farshore_center.events.model import Draft
from farshore_center.jobs.apply import advance
from farshore_center.jobs.bodies import JobBody
from farshore_center.jobs.lifecycle import OVER
from farshore_center.jobs.rules import Spec
from farshore_center.jobs.state import (
    Action,
    EndWave,
    Facts,
    Job,
    JobNode,
    JobTo,
    Join,
    Judged,
    Move,
    OpenWave,
    Snapshot,
    StartNodes,
    UndoNodes,
    Verdict,
)

CENTER = "center"
"""Who makes a transition that no person made."""

NAMES = 1000
"""Of nodes, in one event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A job's row. ``text``: its specification, JSON."""

    job: Job
    text: str
    created_ms: int
    author: str
    message: str = ""
    revision: int = 1
    started_ms: int | None = None
    ended_ms: int | None = None
    parent: str | None = None
    occurrence_ms: int | None = None
    next_ms: int | None = None
    judged: Judged | None = None

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def body(self) -> JobBody:
        return read_body(self.text)

    @property
    def spec(self) -> Spec:
        return read_spec(self.text)


@lru_cache(maxsize=256)
def read_body(text: str) -> JobBody:
    return JobBody.model_validate_json(text)


@lru_cache(maxsize=256)
def read_spec(text: str) -> Spec:
    return read_body(text).spec()


def write_body(body: JobBody) -> str:
    """The specification of a job; who made it and why stand beside it."""
    document = body.model_dump(mode="json", exclude={"author", "message"})
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRecord:
    """A node's row: what the engine sees, and how it was told."""

    each: JobNode
    updated_ms: int
    command_id: str | None = None
    config_rev: int | None = None


def with_heard(record: NodeRecord, heard: str | None) -> NodeRecord:
    return replace(record, each=replace(record.each, heard=heard))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A row of history."""

    state: str
    node: str | None = None
    wave: int | None = None
    reason: str | None = None


@dataclass(slots=True, kw_only=True)
class Written:
    """What actions come to: the snapshot after them, rows of history, events without counts."""

    snapshot: Snapshot
    steps: list[Step] = field(default_factory=list)
    told: list[tuple[str, dict[str, Any], str | None]] = field(default_factory=list)
    """Kind, data and, for what speaks of one node, its name."""


def write_out(snapshot: Snapshot, actions: Iterable[Action], now_ms: int, by: str) -> Written:
    """Applies the actions; IllegalTransitionError when one does not fit."""
    written = Written(snapshot=snapshot)
    job, nodes = snapshot.job, {each.node: each for each in snapshot.nodes}
    moved: dict[tuple[str, str | None], list[str]] = {}
    for action in actions:
        before, job = job, advance(job, nodes, action, now_ms)
        match action:
            case JobTo(state=state, reason=reason):
                written.steps.append(Step(state=state, reason=reason))
                data: dict[str, Any] = {"state": state, "before": before.state, "reason": reason}
                written.told.append(("job.state", data | {"by": by, "wave": before.wave}, None))
            case OpenWave(number=number, size=size, nodes=chosen):
                _note_wave(written, number, "opened", size, len(chosen), by)
            case EndWave(number=number):
                members = sum(each.wave == number for each in nodes.values())
                _note_wave(written, number, "ended", before.wave_size, members, by)
            case Join(nodes=new):
                moved.setdefault(("waiting", "joined"), []).extend(new)
            case Move(node=node, state=state, reason=reason):
                moved.setdefault((state, reason), []).append(node)
            case StartNodes(nodes=chosen):
                moved.setdefault(("active", None), []).extend(chosen)
            case UndoNodes(nodes=chosen):
                moved.setdefault(("undoing", None), []).extend(chosen)
    written.snapshot = replace(snapshot, job=job, nodes=tuple(nodes.values()))
    for (state, reason), names in moved.items():
        _note_nodes(written, nodes, state, reason, names)
    return written


def _note_wave(written: Written, number: int, what: str, size: int, nodes: int, by: str) -> None:
    written.steps.append(Step(state=what, wave=number))
    data = {"wave": number, "what": what, "size": size, "nodes": nodes, "by": by}
    written.told.append(("job.wave", data, None))


def _note_nodes(
    written: Written,
    nodes: Mapping[str, JobNode],
    state: str,
    reason: str | None,
    chosen: Sequence[str],
) -> None:
    written.steps += [
        Step(state=state, node=node, wave=nodes[node].wave or None, reason=reason)
        for node in chosen
    ]
    data = {
        "state": state,
        "reason": reason,
        "wave": written.snapshot.job.wave,
        "number": len(chosen),
        "nodes": list(chosen[:NAMES]),
    }
    written.told.append(("job.nodes", data, chosen[0] if len(chosen) == 1 else None))


def drafts(written: Written, now_ms: int) -> list[Draft]:
    counts = count(written.snapshot.nodes)
    return [
        Draft(
            kind=kind,
            node=node,
            job=written.snapshot.job.id,
            data=data | {"counts": counts},
            at_ms=now_ms,
        )
        for kind, data, node in written.told
    ]


def count(nodes: Iterable[JobNode]) -> dict[str, int]:
    return dict(Counter(each.state for each in nodes))


def moved_on(record: Record, job: Job, now_ms: int, verdicts: tuple[Verdict, ...] = ()) -> Record:
    """The row after a step: its times follow its state. ``verdicts``: those that led to it."""
    before, after = record.job.state, job.state
    started_ms, deadline_ms = record.started_ms, job.deadline_ms
    if before == "scheduled" and after == "running":
        started_ms = now_ms
        limit_s = job.rules.deadline_s
        deadline_ms = None if limit_s is None else now_ms + round(limit_s * 1000)
    return replace(
        record,
        job=replace(job, deadline_ms=deadline_ms),
        revision=record.revision + 1,
        started_ms=started_ms,
        ended_ms=(record.ended_ms or now_ms) if after in OVER else None,
        next_ms=None if after in OVER else record.next_ms,
        judged=Judged(now_ms, verdicts) if verdicts else record.judged,
    )


def snapshot_of(
    record: Record, nodes: Iterable[NodeRecord], facts: Facts | None = None
) -> Snapshot:
    return Snapshot(
        job=record.job, nodes=tuple(each.each for each in nodes), facts=facts or Facts()
    )
