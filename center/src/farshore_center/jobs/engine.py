"""What a job does next: `plan(snapshot, now_ms)` is a list of actions. Pure.

One call decides one step; whoever calls applies it (`apply.py`) and asks again until nothing is
left to do. So nothing is ever decided on a picture that an earlier decision has made old.
"""

import hashlib
from collections.abc import Iterable, Sequence

from farshore_center.jobs.lifecycle import BAD, ENDED, QUIET, RETRIED
from farshore_center.jobs.limits import Room
from farshore_center.jobs.rules import Waves
from farshore_center.jobs.state import (
    Action,
    EndWave,
    Job,
    JobNode,
    JobTo,
    Join,
    Move,
    OpenWave,
    Place,
    Snapshot,
    StartNodes,
    UndoNodes,
)
from farshore_center.words import counted

NO_WORD = "no result by the node's deadline"
UNFINISHED = frozenset({"waiting", "active", "retrying"})
LIVE = frozenset({"running", "awaiting_approval", "paused"})
_UNDONE = frozenset({"undoing", "undone", "undo_failed"})


def plan(snapshot: Snapshot, now_ms: int) -> Sequence[Action]:
    """The next step; empty: there is nothing to do now."""
    job = snapshot.job
    if job.state == "scheduled":
        return [JobTo("running")] if now_ms >= job.start_ms else []
    moves = [*_heard(snapshot, now_ms), *_membership(snapshot)]
    if moves:
        return moves
    if job.state == "rolling_back":
        return _undo(snapshot)
    if job.state in LIVE and job.deadline_ms is not None and now_ms >= job.deadline_ms:
        return [_deadline(snapshot)]
    if job.state in QUIET:
        return []
    return _run(snapshot, now_ms)


# What nodes said, and who belongs to it


def _heard(snapshot: Snapshot, now_ms: int) -> list[Action]:
    found = (_move(each, snapshot.job, now_ms) for each in snapshot.nodes)
    return [each for each in found if each is not None]


def _move(each: JobNode, job: Job, now_ms: int) -> Move | None:
    match each.state:
        case "active" if each.heard is not None:
            again = each.heard in RETRIED and each.attempts <= job.rules.retries
            return Move(each.node, "retrying" if again else each.heard)
        case "active" if now_ms >= node_deadline_ms(each, job):
            return Move(each.node, "silent", NO_WORD)
        case "silent" if each.heard not in (None, "silent"):
            return Move(each.node, str(each.heard), "answered late")
        case "retrying" if job.state in ("aborted", "rolling_back"):
            return Move(each.node, each.heard or "failed", "not tried again")
        case "undoing" if each.heard is not None:
            return Move(each.node, "undone" if each.heard == "succeeded" else "undo_failed")
        case "undoing" if now_ms >= node_deadline_ms(each, job):
            return Move(each.node, "undo_failed", NO_WORD)
    return None


def node_deadline_ms(each: JobNode, job: Job) -> int:
    """Until when a node that is under way may answer."""
    return (each.started_ms or 0) + _ms(job.rules.node_deadline_s)


def _membership(snapshot: Snapshot) -> list[Action]:
    members = snapshot.facts.members
    if members is None or snapshot.job.state not in LIVE:
        return []
    known = {each.node: each for each in snapshot.nodes}
    new = tuple(sorted(members - known.keys()))
    moves: list[Action] = [Join(new)] if new else []
    for node, each in known.items():
        if each.state == "waiting" and node not in members:
            moves.append(Move(node, "left", "does not match the selector any more"))
        elif each.state == "left" and node in members:
            moves.append(Move(node, "waiting", "matches the selector again"))
    return moves


# Forward


def _run(snapshot: Snapshot, now_ms: int) -> Sequence[Action]:
    job, rules = snapshot.job, snapshot.job.rules
    short = _short_of_success(snapshot, strict=False)
    if short is not None:
        return [JobTo("halted", short)]
    if job.wave == 0:
        return _open(snapshot)
    wave = [each for each in snapshot.nodes if each.wave == job.wave]
    if any(each.state in UNFINISHED for each in wave):
        return _start(snapshot, wave)
    soaked_ms = job.soaked_ms
    if soaked_ms is None:
        return [EndWave(job.wave)]
    short = _short_of_success(snapshot, strict=True)
    if short is not None:
        return [JobTo("halted", short)]
    if now_ms < soaked_ms:
        return []
    closed = [verdict.detail for verdict in snapshot.facts.gates if not verdict.holds]
    if len(snapshot.facts.gates) < len(rules.gates):
        closed.append("a gate was not judged")
    if closed:
        late = now_ms >= soaked_ms + _ms(rules.gate_wait_s)
        return [JobTo("halted", f"gate: {'; '.join(closed)}")] if late else []
    if not any(each.state == "waiting" for each in snapshot.nodes):
        return [] if job.following else [JobTo("succeeded")]
    if rules.approval and job.approved <= job.wave:
        return [JobTo("awaiting_approval", f"wave {job.wave + 1} waits for a person")]
    return _open(snapshot)


def _short_of_success(snapshot: Snapshot, *, strict: bool) -> str | None:
    """Why the threshold is broken; ``strict``: however few nodes have ended."""
    rule = snapshot.job.rules.success
    ended = [each for each in snapshot.nodes if each.state in ENDED and not each.forgiven]
    if not ended or (len(ended) < rule.minimum and not strict):
        return None
    bad = sum(each.state in BAD for each in ended)
    if (len(ended) - bad) * 100 >= rule.percent * len(ended):
        return None
    of = counted(len(ended), "node")
    return f"{bad} of {of} did not succeed; {rule.percent:g} % have to"


def _open(snapshot: Snapshot) -> Sequence[Action]:
    job = snapshot.job
    waiting = order(job.id, (each.node for each in snapshot.nodes if each.state == "waiting"))
    if not waiting:
        return [] if job.following else [JobTo("succeeded")]
    total = sum(each.state != "left" for each in snapshot.nodes)
    size = wave_size(job.rules.waves, job.wave, job.wave_size, total)
    return [OpenWave(job.wave + 1, size, tuple(waiting[:size]))]


def wave_size(waves: Waves, before: int, last: int, total: int) -> int:
    """Of the wave behind ``before`` others, of which the last was to be of ``last`` nodes."""
    if before < len(waves.sizes):
        return max(1, waves.sizes[before].of(total))
    return max(1, min(int(last * waves.factor), total))


def order(job_id: str, nodes: Iterable[str]) -> list[str]:
    """Another one for each job, and always the same: so no node is always the canary."""
    return sorted(nodes, key=lambda node: hashlib.sha256(f"{job_id} {node}".encode()).digest())


def _start(snapshot: Snapshot, wave: Sequence[JobNode]) -> Sequence[Action]:
    places = snapshot.facts.places
    ready = [
        each.node
        for each in wave
        if each.state in ("waiting", "retrying") and places.get(each.node, Place()).open
    ]
    chosen = Room(snapshot).take(order(snapshot.job.id, ready))
    return [StartNodes(chosen)] if chosen else []


def _deadline(snapshot: Snapshot) -> Action:
    left = sum(each.state in UNFINISHED for each in snapshot.nodes)
    short = _short_of_success(snapshot, strict=True)
    if snapshot.job.following and not left and short is None:
        return JobTo("succeeded", "followed until its deadline")
    return JobTo("halted", f"the job's deadline has passed with {counted(left, 'node')} to go")


# Back


def _undo(snapshot: Snapshot) -> Sequence[Action]:
    """Windows and budgets do not hold a way back; the limits at once do."""
    touched = [
        each.node
        for each in snapshot.nodes
        if each.attempts and each.state in ENDED and each.state not in _UNDONE
    ]
    chosen = Room(snapshot, budgets=False).take(order(snapshot.job.id, touched))
    if chosen:
        return [UndoNodes(chosen)]
    busy = any(each.state in ("active", "undoing") for each in snapshot.nodes)
    return [] if busy or touched else [JobTo("rolled_back")]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
