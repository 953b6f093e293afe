"""What a node does with its tasks: decided here, done elsewhere. Pure.

``plan`` compares a document with what the node has; ``after_end`` and ``after_trouble`` say how an
instance goes on. Every state they lead to stands in the lifecycle's table ``NODE_TASK``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from farshore_protocol.tasks import Grant
from farshore_protocol.tasks.spec import Restart, TaskSpec

from farshore_edge.tasks.drivers.model import DriverError, Exit
from farshore_edge.tasks.model import Books, Kept, id_of, key_of

STEADY_S = 10.0
"""A run that lasted so long, and longer than the wait before it, has not failed at its start."""
REASON_CHARS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``take``: grants that are new here. ``stop``: ids with the reason to end them. ``forget``: ids
    that have ended and that nobody asks for any more. ``refuse``: grants that are never run, with the
    code and the reason. ``older``: the document is not newer than the one that was taken, and changes
    nothing."""

    rev: int
    take: tuple[Grant, ...] = ()
    stop: tuple[tuple[str, str], ...] = ()
    forget: tuple[str, ...] = ()
    refuse: tuple[tuple[Grant, str, str], ...] = ()
    older: bool = False

    def highest(self) -> dict[str, int]:
        """Epochs by key, of what it takes."""
        return {key_of(grant.task, grant.instance): grant.epoch for grant in self.take}


def plan(
    books: Books, rev: int, grants: Sequence[Grant], unread: frozenset[str] = frozenset()
) -> Plan:
    """``unread``: ids of grants that stand in the document and can't be read: what they name goes on
    as it is."""
    if rev < books.rev:
        return Plan(rev=books.rev, older=True)
    highest = dict(books.highest)
    take: dict[str, Grant] = {}
    stop: dict[str, str] = {}
    refuse = []
    named = set(unread)
    for grant in grants:
        name, key = (
            id_of(grant.task, grant.instance, grant.epoch),
            key_of(grant.task, grant.instance),
        )
        named.add(name)
        kept = books.kept.get(name)
        if kept is not None:
            if grant.want == "stop" and not kept.ended:
                stop[name] = grant.reason or "asked"
        elif grant.epoch > highest.get(key, 0):
            if (earlier := take.pop(_id_in(take, key), None)) is not None:
                refuse.append((earlier, *_superseded(earlier.epoch, grant.epoch)))
            take[name] = grant
            highest[key] = grant.epoch
        else:
            refuse.append((grant, *_superseded(grant.epoch, highest[key])))
    for name, kept in books.kept.items():
        if kept.ended or name in stop:
            continue
        if highest[kept.key] > kept.grant.epoch:
            stop[name] = "superseded"
        elif name not in named:
            stop[name] = "removed"
    return Plan(
        rev=rev,
        take=tuple(take.values()),
        stop=tuple(stop.items()),
        forget=tuple(n for n, kept in books.kept.items() if kept.ended and n not in named),
        refuse=tuple(refuse),
    )


def _id_in(take: Mapping[str, Grant], key: str) -> str:
    return next((n for n, g in take.items() if key_of(g.task, g.instance) == key), "")


def _superseded(epoch: int, highest: int) -> tuple[str, str]:
    return "old_epoch", f"epoch {epoch} was granted before {highest}, which this node has taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """Where an instance goes on; ``wait_s``: before it is begun again, of ``backing_off``."""

    state: Literal["succeeded", "failed", "backing_off"]
    wait_s: float = 0.0
    code: str | None = None
    reason: str | None = None


def after_end(kept: Kept, end: Exit, *, run_s: float, now_ms: int) -> tuple[Kept, Next]:
    """It has ended by itself; the ``Kept`` counts it, and is moved by nobody yet."""
    kept = replace(kept, exit_code=end.exit_code, signal=end.signal, run_s=round(run_s, 3))
    policy = kept.grant.spec.restart_policy()
    well = end.exit_code == 0
    why = told(end)
    if policy == "never" or (policy == "on_failure" and well):
        if well:
            return kept, Next(state="succeeded")
        return kept, Next(state="failed", code=code_of(end), reason=why)
    return _again(kept, run_s=run_s, now_ms=now_ms, code=code_of(end), why=why)


def after_trouble(
    kept: Kept, trouble: DriverError, *, run_s: float, now_ms: int
) -> tuple[Kept, Next]:
    """It could not be prepared or begun, or its health failed."""
    why = trouble.detail[:REASON_CHARS]
    if trouble.permanent:
        return kept, Next(state="failed", code=trouble.code, reason=why)
    if kept.grant.spec.restart_policy() == "never":
        return kept, Next(state="failed", code=trouble.code, reason=f"{why}; it is never restarted")
    return _again(kept, run_s=run_s, now_ms=now_ms, code=trouble.code, why=why)


def _again(kept: Kept, *, run_s: float, now_ms: int, code: str, why: str) -> tuple[Kept, Next]:
    """Restarted after a while, unless that was done too often."""
    restart = kept.grant.spec.restart
    window_ms = restart.interval_s * 1000
    lately = tuple(at for at in kept.lately_ms if 0 <= now_ms - at < window_ms)
    if restart.attempts and len(lately) >= restart.attempts:
        within = f"{len(lately)} restarts within {restart.interval_s:g} s, allowed are {restart.attempts}"
        return kept, Next(state="failed", code="too_many_restarts", reason=f"{why}; {within}")
    steady = run_s >= max(STEADY_S, delay_s(restart, kept.quick))
    quick = 0 if steady else kept.quick
    wait_s = delay_s(restart, quick)
    kept = replace(
        kept,
        restarts=kept.restarts + 1,
        lately_ms=(*lately, now_ms)[-restart.attempts :] if restart.attempts else (),
        quick=quick + 1,
    )
    return kept, Next(state="backing_off", wait_s=wait_s, code=code, reason=why)


def delay_s(restart: Restart, quick: int) -> float:
    """Before the next start, after so many quick ends in a row."""
    return float(min(restart.delay_max_s, restart.delay_s * 2 ** min(quick, 40)))


def code_of(end: Exit) -> str:
    if end.oom:
        return "out_of_memory"
    if end.exit_code is not None:
        return "exit"
    return "signal" if end.signal is not None else "unseen"


def told(end: Exit) -> str:
    """How a run ended, for people."""
    if end.oom:
        return "the kernel ended it: it used more memory than its limit"
    if end.exit_code is not None:
        return f"exit code {end.exit_code}"
    if end.signal is not None:
        return f"ended by {end.signal}"
    return "it ended unseen, its exit code is not known"


def begins_again(spec: TaskSpec) -> bool:
    """Whether it may ever be begun a second time."""
    return spec.restart_policy() != "never"
