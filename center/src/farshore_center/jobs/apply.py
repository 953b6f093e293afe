"""A snapshot after an action. Pure; every change of state goes through the tables."""

from collections.abc import Iterable
from dataclasses import replace

from farshore_center.jobs.lifecycle import BAD, JOB, JOB_NODE
from farshore_center.jobs.state import (
    Action,
    EndWave,
    Job,
    JobNode,
    JobTo,
    Join,
    Move,
    OpenWave,
    Snapshot,
    StartNodes,
    UndoNodes,
)


def apply(snapshot: Snapshot, action: Action, now_ms: int) -> Snapshot:
    """IllegalTransitionError when the action does not fit the snapshot."""
    return apply_all(snapshot, [action], now_ms)


def apply_all(snapshot: Snapshot, actions: Iterable[Action], now_ms: int) -> Snapshot:
    job, nodes = snapshot.job, {each.node: each for each in snapshot.nodes}
    for action in actions:
        job = advance(job, nodes, action, now_ms)
    return replace(snapshot, job=job, nodes=tuple(nodes.values()))


def advance(job: Job, nodes: dict[str, JobNode], action: Action, now_ms: int) -> Job:
    """The job after the action; ``nodes`` is changed in place: of a thousand, one may have moved."""
    match action:
        case JobTo(state=state, reason=reason):
            return replace(job, state=JOB.check(job.state, state), reason=reason)
        case EndWave():
            return replace(job, wave_ended_ms=now_ms)
        case OpenWave(number=number, size=size, nodes=chosen):
            for node in chosen:
                nodes[node] = replace(nodes[node], wave=number)
            return replace(job, wave=number, wave_size=size, wave_ended_ms=None)
        case Join(nodes=new):
            nodes |= {node: JobNode(node=node) for node in new if node not in nodes}
        case Move(node=node, state=state, reason=reason):
            nodes[node] = _moved(nodes[node], state, reason)
        case StartNodes(nodes=chosen):
            for node in chosen:
                nodes[node] = _begun(nodes[node], "active", now_ms)
        case UndoNodes(nodes=chosen):
            for node in chosen:
                nodes[node] = _begun(nodes[node], "undoing", now_ms)
    return job


def forgive(snapshot: Snapshot) -> Snapshot:
    """A person has seen the failures and goes on: they don't count any more."""
    nodes = (replace(each, forgiven=True) if each.state in BAD else each for each in snapshot.nodes)
    return replace(snapshot, nodes=tuple(nodes))


def _moved(each: JobNode, state: str, reason: str | None) -> JobNode:
    if each.state == "active" and state == "waiting":
        # It was told nothing: its turn has not been.
        each = replace(each, attempts=each.attempts - 1, started_ms=None)
    # What was heard stays with a node that is tried again: it is its end if nobody tries.
    return replace(each, state=JOB_NODE.check(each.state, state), reason=reason)


def _begun(each: JobNode, state: str, now_ms: int) -> JobNode:
    begun = replace(_moved(each, state, None), started_ms=now_ms, heard=None, forgiven=False)
    return replace(begun, attempts=each.attempts + 1) if state == "active" else begun
