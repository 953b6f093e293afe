"""A task, its instances and their grants as the database has them. Data only."""

from dataclasses import dataclass, replace
from typing import Literal

from farshore_protocol.tasks import FINAL, TaskSpec

Wanted = Literal["run", "stop", "delete"]
Key = tuple[str, int]
"""Task and instance."""
GrantKey = tuple[str, int, int]
"""Task, instance, epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A row of ``task``, its specification read."""

    name: str
    revision: int
    spec: TaskSpec
    digest: str
    wanted: Wanted = "run"
    run: int = 1
    author: str = "api"
    created_ms: int = 0
    updated_ms: int = 0
    asked_ms: int = 0
    next_ms: int | None = None

    @property
    def deadline_ms(self) -> int | None:
        left_s = self.spec.deadline_s
        return None if left_s is None else self.asked_ms + round(left_s * 1000)

    def wants(self, instance: int) -> bool:
        """Whether this instance is to run."""
        return self.wanted == "run" and instance < self.spec.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """A row of ``task_instance``. ``result`` and ``decision`` are JSON text."""

    task: str
    instance: int
    version: int = 0
    state: str = "pending"
    since_ms: int = 0
    epoch: int = 0
    last_epoch: int = 0
    attempt: int = 0
    revision: int = 1
    run: int = 1
    failures: int = 0
    lapses: int = 0
    due_ms: int = 0
    avoid: tuple[str, ...] = ()
    reason: str | None = None
    exit_code: int | None = None
    result: str | None = None
    decision: str | None = None

    @property
    def key(self) -> Key:
        return self.task, self.instance


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A row of ``task_grant``."""

    task: str
    instance: int
    epoch: int
    node: str
    attempt: int = 1
    revision: int = 1
    run: int = 1
    state: str = "granted"
    since_ms: int = 0
    granted_ms: int = 0
    heard_ms: int = 0
    heard_boot: str = ""
    heard_up_ms: int = 0
    ended_ms: int | None = None
    want: str = "run"
    why: str | None = None
    lease_s: float = 0.0
    gpus: tuple[int, ...] = ()
    cpus: tuple[int, ...] = ()
    healthy: bool | None = None
    restarts: int = 0
    exit_code: int | None = None
    reason: str | None = None
    run_s: float | None = None

    @property
    def key(self) -> GrantKey:
        return self.task, self.instance, self.epoch

    @property
    def of(self) -> Key:
        return self.task, self.instance

    @property
    def final(self) -> bool:
        return self.state in FINAL

    @property
    def alive(self) -> bool:
        """At work as far as is known; one that is lost may be, and nobody knows."""
        return not self.final and self.state != "lost"

    def moved(self, state: str, now_ms: int, reason: str | None = None) -> "Granted":
        ended = now_ms if state in FINAL else None
        return replace(
            self, state=state, since_ms=now_ms, ended_ms=ended, reason=reason or self.reason
        )

    def stopped(self, why: str) -> "Granted":
        """With the wish that it ends; the first reason stays."""
        return self if self.want == "stop" else replace(self, want="stop", why=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTasks:
    """A row of ``node_tasks``."""

    node: str
    rev: int = 0
    heard_rev: int = 0
    drained: bool = False
    drain_ms: int | None = None
    drain_until_ms: int | None = None
    drain_reason: str | None = None
    drain_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of history, and an event ``task.<state>``."""

    task: str
    state: str
    instance: int | None = None
    epoch: int | None = None
    node: str | None = None
    reason: str | None = None
    by: str = "center"
