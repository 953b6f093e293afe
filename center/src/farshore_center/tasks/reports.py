"""What nodes say of their tasks, written inside the transaction that accepts it.

Nothing that a node says may make it fail: the same record would come again for ever. What a node says of
a grant that is not its own changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from farshore_protocol.messages import LinkMeasured
from farshore_protocol.tasks import Held, TaskEvent, TasksReport
from sqlalchemy import Connection

from farshore_center.events.model import Draft
from farshore_center.tasks import estimates, store
from farshore_center.tasks.hearing import (
    Moment,
    beyond,
    hear,
    heard_document,
    highest_of,
    late_result,
    missing,
)
from farshore_center.tasks.lines import drafts_of
from farshore_center.tasks.records import Granted, GrantKey, Instance, Key, Line, NodeTasks, Task

KindsOf = Callable[[str], tuple[str, ...]]
BootOf = Callable[[str], str | None]


class Word(NamedTuple):
    """A report or an event of a node."""

    node: str
    said: TasksReport | TaskEvent
    at: Moment


class LinkWord(NamedTuple):
    """What a node has measured of its link; ``at_ms`` on the center's clock."""

    node: str
    said: LinkMeasured
    at_ms: int


@dataclass(slots=True, kw_only=True)
class Recorded:
    """``look``: instances to look at; ``nodes``: whose document was told of, or must be sent again.
    ``rejections``: nodes with what they refuse to run; ``well``: nodes on which something runs now, or has
    done its work."""

    drafts: list[Draft] = field(default_factory=list)
    look: set[Key] = field(default_factory=set)
    nodes: set[str] = field(default_factory=set)
    accepted: int = 0
    refused: int = 0
    strays: int = 0
    rejections: list[tuple[str, TaskEvent]] = field(default_factory=list)
    well: set[str] = field(default_factory=set)


class Recorder:
    """One group of words, in their order."""

    def __init__(
        self,
        conn: Connection,
        words: Sequence[Word],
        now_ms: int,
        kinds_of: KindsOf,
        boot_of: BootOf,
    ) -> None:
        self._kinds_of = kinds_of
        self._boot_of = boot_of
        self._conn = conn
        self._words = words
        self._now_ms = now_ms
        self._lines: list[Line] = []
        self.recorded = Recorded()
        self._load()

    def _load(self) -> None:
        conn, words = self._conn, self._words
        reporters = [word.node for word in words if isinstance(word.said, TasksReport)]
        self._nodes = store.load_nodes(conn, reporters)
        held = store.grants_on(conn, reporters)
        keys: set[GrantKey] = set()
        highest: set[Key] = set()
        for word in words:
            if isinstance(word.said, TaskEvent):
                keys.add((word.said.task, word.said.instance, word.said.epoch))
            else:
                keys.update((each.task, each.instance, each.epoch) for each in word.said.held)
                highest.update(highest_of(word.said.highest))
        self._grants: dict[GrantKey, Granted] = store.load_grants(conn, keys)
        for node in held.values():
            for grant in node:
                self._grants.setdefault(grant.key, grant)
        of = {grant.of for grant in self._grants.values()} | highest
        if store.lock_instances(conn, of):  # another center may have written meanwhile
            self._grants = store.load_grants(conn, self._grants)
        self._instances: dict[Key, Instance] = store.load_instances(conn, of)
        self._tasks: dict[str, Task] = store.load_tasks(conn, [task for task, _ in of])
        self._before = dict(self._instances)
        self._grants_before = dict(self._grants)

    def run(self) -> Recorded:
        for word in self._words:
            if isinstance(word.said, TasksReport):
                self._report(word.node, word.said, word.at)
            else:
                self._said(word.node, word.said, word.at)
        self._save()
        return self.recorded

    def _report(self, node: str, report: TasksReport, at: Moment) -> None:
        row = self._nodes.get(node) or NodeTasks(node=node)
        for of, epoch in highest_of(report.highest).items():
            if of in self._instances:
                self._instances[of] = beyond(self._instances[of], epoch)
        for each in report.held:
            self._said(node, each, at)
        if report.rev >= row.rev and row.rev:
            told = {(each.task, each.instance, each.epoch) for each in report.held}
            for key, grant in list(self._grants.items()):
                if grant.node == node and not grant.final and key not in told:
                    self._move(grant, missing(grant, self._now_ms))
        self._nodes[node] = heard_document(row, report.rev)
        self.recorded.nodes.add(node)

    def _said(self, node: str, word: Held | TaskEvent, at: Moment) -> None:
        key = (word.task, word.instance, word.epoch)
        grant, instance = self._grants.get(key), self._instances.get(key[:2])
        task = self._tasks.get(word.task)
        if grant is None or instance is None or task is None or grant.node != node:
            self.recorded.strays += 1
            return
        batch = task.spec.kind == "batch"
        heard = hear(instance, grant, word, at, boot=self._boot_of(node), batch=batch)
        self._grants[key] = heard.grant
        self._lines += heard.lines
        self.recorded.accepted += heard.accepted
        self.recorded.refused += any(line.state == "result_refused" for line in heard.lines)
        after = heard.instance
        if isinstance(word, TaskEvent):
            after = late_result(after, grant, word) or after
            if heard.accepted and word.run_s is not None and batch:
                run_s = estimates.run_without_transfer(word.run_s, instance.decision)
                estimates.note_run(self._conn, word.task, self._kinds_of(node), run_s)
        self._instances[key[:2]] = after
        if heard.grant.state != grant.state:
            self.recorded.look.add(instance.key)
            self._fares(node, heard.grant.state, word)

    def _fares(self, node: str, state: str, word: Held | TaskEvent) -> None:
        if state in ("running", "succeeded"):
            self.recorded.well.add(node)
        elif state == "rejected" and isinstance(word, TaskEvent):
            self.recorded.rejections.append((node, word))

    def _move(self, before: Granted, after: Granted) -> None:
        self._grants[before.key] = after
        self.recorded.look.add(before.of)
        self._lines.append(
            Line(
                task=after.task,
                instance=after.instance,
                epoch=after.epoch,
                node=after.node,
                state=after.state,
                reason=after.reason,
            )
        )

    def _save(self) -> None:
        conn = self._conn
        before = self._grants_before
        changed = [each for key, each in self._grants.items() if each != before[key]]
        store.save_grants(conn, changed)
        for of, after in self._instances.items():
            if after != self._before[of]:
                store.save_instance(conn, self._before[of], after)
                self.recorded.look.add(of)
        store.save_nodes(conn, self._nodes.values())
        store.add_lines(conn, self._lines, self._now_ms)
        self.recorded.drafts += drafts_of(self._lines, self._now_ms)


def _itself(node: str) -> tuple[str, ...]:
    return (node,)


def _unknown(_node: str) -> None:
    return None


def record_many(
    conn: Connection,
    words: Sequence[Word],
    now_ms: int,
    kinds_of: KindsOf = _itself,
    boot_of: BootOf = _unknown,
) -> Recorded:
    """``kinds_of``: by what a node's run times are kept, itself among it; ``boot_of``: its current boot."""
    return Recorder(conn, words, now_ms, kinds_of, boot_of).run()
