"""One round of decisions on tasks: what it looks at, what was decided, and how that is written."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from farshore_protocol.tasks import TaskSpec
from sqlalchemy import Connection

from farshore_center.events import Event, EventLog
from farshore_center.placement import Pool, RunTime
from farshore_center.tasks import store
from farshore_center.tasks.books import load_runs
from farshore_center.tasks.budget import load_standing
from farshore_center.tasks.decision import Decision
from farshore_center.tasks.lines import drafts_of
from farshore_center.tasks.records import Granted, Instance, Key, Line, Task


@dataclass(slots=True, kw_only=True)
class TaskCounts:
    """Since the start."""

    rounds: int = 0
    placed: int = 0
    replaced: int = 0
    lost: int = 0
    kept: int = 0
    unplaceable: int = 0
    outrun: int = 0
    results: int = 0
    results_refused: int = 0
    strays: int = 0
    preempted: int = 0
    rebalanced: int = 0

    def count(self, line: Line) -> None:
        if line.state in ("placed", "replaced", "lost", "kept", "preempted", "rebalanced"):
            setattr(self, line.state, getattr(self, line.state) + 1)


@dataclass(slots=True, kw_only=True)
class Loaded:
    """What one round looks at."""

    tasks: dict[str, Task]
    instances: dict[Key, Instance]
    grants: dict[Key, dict[int, Granted]]
    specs: dict[tuple[str, int], TaskSpec]
    runs: dict[str, dict[str, RunTime]]
    standing: dict[str, tuple[int, int]]

    def specs_of(self, task: str) -> dict[int, TaskSpec]:
        """By revision."""
        return {rev: spec for (name, rev), spec in self.specs.items() if name == task}


@dataclass(slots=True, kw_only=True)
class Decided:
    """Of one round."""

    decisions: list[Decision] = field(default_factory=list)
    won: list[Decision] = field(default_factory=list)
    lost: list[Decision] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    asks: set[str] = field(default_factory=set)
    """Nodes that are heard again without a birth: a new document makes them say what they have."""


def load(conn: Connection, keys: Sequence[Key]) -> Loaded:
    """The instances with their tasks, and the grants that have not ended or are the current one."""
    found = store.load_instances(conn, keys)
    tasks = store.load_tasks(conn, {task for task, _ in found})
    # In the order of the keys: of equals, who is asked for first gets a place first.
    instances = {key: found[key] for key in keys if key in found and key[0] in tasks}
    current = [(*key, each.epoch) for key, each in instances.items() if each.epoch]
    grants: dict[Key, dict[int, Granted]] = {}
    for key, live in store.live_grants(conn, instances).items():
        grants[key] = {grant.epoch: grant for grant in live}
    for grant in store.load_grants(conn, current).values():
        grants.setdefault(grant.of, {})[grant.epoch] = grant
    revisions = {(g.task, g.revision) for each in grants.values() for g in each.values()}
    services = [name for name, task in tasks.items() if task.spec.kind == "service"]
    return Loaded(
        tasks=tasks,
        instances=instances,
        grants=grants,
        specs=store.specs(conn, revisions),
        runs=load_runs(conn, tasks),
        standing=load_standing(conn, services),
    )


def keep(conn: Connection, decided: Decided, events: EventLog, now_ms: int, pool: Pool) -> Decided:
    """What changed, in this transaction; who was outrun is among the ``lost``. Nodes that are not in the
    pool are gone: nothing is told to them."""
    kept = Decided(decisions=decided.decisions)
    written = [each for each in decided.decisions if each.changed or each.lines]
    store.lock_instances(conn, [each.view.instance.key for each in written])
    for decision in written:
        (kept.won if write(conn, decision) else kept.lost).append(decision)
    lines = [line for decision in kept.won for line in decision.lines]
    told = {node for decision in kept.won for node in decision.nodes} | decided.asks
    store.bump(conn, {node for node in told if node in pool})
    store.add_lines(conn, lines, now_ms)
    kept.gone, ends = forget_ended(conn, kept.won)
    store.add_lines(conn, ends, now_ms)
    kept.events = events.append(conn, drafts_of([*lines, *ends], now_ms))
    return kept


def write(conn: Connection, decision: Decision) -> bool:
    """One decision, compared and set on its instance and its grants; False: somebody was quicker, be it a
    node whose word came meanwhile."""
    before, after = decision.view.instance, decision.after
    if not _as_seen(conn, decision) or not store.save_instance(conn, before, after or before):
        return False
    store.save_grants(conn, decision.grants)
    if after is None:
        store.remove_instances(conn, [before.key])
    return True


def _as_seen(conn: Connection, decision: Decision) -> bool:
    """Whether the grants that it changes are still what it was decided on."""
    views = decision.view.grants
    seen = {each.key: views[each.epoch] for each in decision.grants if each.epoch in views}
    return not seen or store.load_grants(conn, seen) == seen


def forget_ended(conn: Connection, won: Sequence[Decision]) -> tuple[list[str], list[Line]]:
    """Tasks that are deleted, and of which nothing is left."""
    deleted = {
        decision.view.task.name
        for decision in won
        if decision.after is None and decision.view.task.wanted == "delete"
    }
    left = store.instances_of(conn, sorted(deleted))
    gone = [name for name in sorted(deleted) if not left.get(name)]
    for name in gone:
        store.remove_task(conn, name)
    return gone, [Line(task=name, state="deleted") for name in gone]
