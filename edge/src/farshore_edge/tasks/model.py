"""What a node keeps of one grant, and the words for it.

A grant is known by its id ``task.instance.epoch``; its instance by the key ``task/instance``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from farshore_protocol.codec import encode
from farshore_protocol.tasks import NODE_TASK, Grant, Held

from farshore_edge.database import TaskRow


def id_of(task: str, instance: int, epoch: int) -> str:
    """A file name; names hold no dot."""
    return f"{task}.{instance}.{epoch}"


def key_of(task: str, instance: int) -> str:
    return f"{task}/{instance}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A grant with its state. ``at_ms``: since when, by the center's clock where it is known.

    ``via``: states passed that no event has told yet; ``told``: the present one was. ``runs``: how
    often it was begun in all; ``restarts``: how often by the node itself. ``lately_ms``: when it was
    restarted, as far as the policy asks for that; ``quick``: ends in a row that came soon after their
    start. ``trace``: of the
    run that was begun last, None where none is known to be. ``stop``: why it is to end, once it is.
    """

    grant: Grant
    state: str = NODE_TASK.initial
    at_ms: int = 0
    via: tuple[tuple[str, int], ...] = ()
    told: bool = False
    runs: int = 0
    restarts: int = 0
    lately_ms: tuple[int, ...] = ()
    quick: int = 0
    healthy: bool | None = None
    exit_code: int | None = None
    signal: str | None = None
    code: str | None = None
    reason: str | None = None
    run_s: float | None = None
    pid: int | None = None
    cpus: tuple[int, ...] = ()
    trace: dict[str, Any] | None = None
    stop: str | None = None
    result: Any = None

    @property
    def id(self) -> str:
        return id_of(self.grant.task, self.grant.instance, self.grant.epoch)

    @property
    def key(self) -> str:
        return key_of(self.grant.task, self.grant.instance)

    @property
    def ended(self) -> bool:
        return NODE_TASK.final(self.state)

    @property
    def leased(self) -> bool:
        """Whether it may run only while its lease lasts."""
        return self.grant.spec.disconnect.on_disconnect == "stop"

    def moved(self, state: str, at_ms: int, **more: Any) -> "Kept":
        """In the next state; a pair that the lifecycle's table does not hold raises."""
        NODE_TASK.check(self.state, state)
        silent = self.told or self.state == NODE_TASK.initial
        passed = () if silent else ((self.state, self.at_ms),)
        return replace(self, state=state, at_ms=at_ms, via=(*self.via, *passed), told=False, **more)

    def spoken(self) -> "Kept":
        """As it goes on once an event has told all of it."""
        return replace(self, via=(), told=True)

    def row(self) -> TaskRow:
        return TaskRow(id=self.id, body=encode(msgspec.to_builtins(self)))

    def held(self) -> Held:
        return Held(
            task=self.grant.task,
            instance=self.grant.instance,
            attempt=self.grant.attempt,
            epoch=self.grant.epoch,
            state=self.state,  # type: ignore[arg-type] # one of the table's
            since_ms=max(0, self.at_ms),
            healthy=self.healthy,
            restarts=self.restarts,
            exit_code=self.exit_code,
            reason=self.reason,
            pid=None if self.ended else self.pid,
            cpus=() if self.ended else self.cpus,
            gpus=() if self.ended else self.grant.gpus,
        )


def kept_of(row: TaskRow) -> Kept:
    """Raises msgspec.MsgspecError for a row that another version wrote, or nobody."""
    return msgspec.json.decode(row.body, type=Kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """All that a node has of tasks: ``highest`` epochs by key, grants by id."""

    rev: int = 0
    highest: Mapping[str, int] = field(default_factory=dict)
    kept: Mapping[str, Kept] = field(default_factory=dict)
