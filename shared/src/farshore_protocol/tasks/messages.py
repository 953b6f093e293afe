"""``desired/tasks``, ``rep/tasks``, ``evt/task``, and the renewal of leases.

A **grant** is (task, instance, attempt, epoch). ``epoch`` grows with every grant of an instance,
whatever node it goes to, and is the fencing token (Kleppmann, 2016): whoever is given a result, or a
storage that the task writes, refuses a smaller one. ``attempt`` counts the runs that the center began.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from farshore_protocol.messages.record import Count, Envelope, Millis, Token
from farshore_protocol.tasks.spec import TaskName, TaskSpec

Epoch = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Index = Annotated[int, Meta(ge=0, le=9_999)]
NodeState = Literal[
    "received",
    "preparing",
    "starting",
    "running",
    "backing_off",
    "stopping",
    "stopped",
    "succeeded",
    "failed",
    "rejected",
]
StopReason = Literal[
    "asked", "lease_over", "superseded", "drained", "preempted", "moved", "removed"
]

MAX_TASKS_BYTES = 512 * 1024
"""Of ``desired/tasks``, as JSON."""
MAX_RESULT_BYTES = 8 * 1024
"""Of what a batch task may leave as its result, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One instance for this node. ``want``: ``stop`` with a ``reason`` ends it; what is not in the
    document any more is forgotten once it has ended, and ended first where it runs.

    ``gpus``: indices of the GPUs that it may use, ``gpu_milli`` of the only one. ``lease_s``: from
    the last renewal, where the contract is ``stop``.
    """

    task: TaskName
    instance: Index
    attempt: Count
    epoch: Epoch
    spec: TaskSpec
    want: Literal["run", "stop"] = "run"
    reason: StopReason | None = None
    gpus: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredTasks:
    """``down/<node>/desired/tasks``, zlib-packed where that is smaller: all that this node has to do.

    ``rev`` counts 1, 2, 3 … for this node; a smaller one than the node has taken is ignored. A document
    that comes to the boot and connection ``(boot, conn)`` renews no lease by itself.
    """

    rev: Count
    grants: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An instance as its node has it. ``restarts``: how often the node began it again by itself;
    ``pid``: of its first process; ``cpus``, ``gpus``: given to it alone."""

    task: TaskName
    instance: Index
    attempt: Count
    epoch: Epoch
    state: NodeState
    since_ms: Millis = 0
    healthy: bool | None = None
    restarts: Count = 0
    exit_code: int | None = None
    reason: Annotated[str, Meta(max_length=1024)] | None = None
    pid: Count | None = None
    cpus: tuple[Index, ...] = ()
    gpus: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksReport(Envelope):
    """``rep/tasks``: all that the node has, after a birth and after each change of what it should do.
    The newest is enough; what happened in between is told by ``evt/task``."""

    rev: Count
    held: tuple[Held, ...] = ()
    highest: dict[str, Epoch] = field(default_factory=dict)
    """``task/instance`` → the highest epoch that was ever granted here, for as long as it is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEvent:
    """The ``data`` of ``evt/task``: an instance has come into a state. ``result``: what a batch task left
    in its file ``FARSHORE_RESULT``; ``run_s``: how long its last run took."""

    task: TaskName
    instance: Index
    attempt: Count
    epoch: Epoch
    state: NodeState
    at_ms: Millis
    via: tuple[tuple[NodeState, Millis], ...] = ()
    healthy: bool | None = None
    restarts: Count = 0
    exit_code: int | None = None
    signal: Annotated[str, Meta(max_length=32)] | None = None
    code: Annotated[str, Meta(max_length=64)] | None = None
    reason: Annotated[str, Meta(max_length=1024)] | None = None
    run_s: float | None = None
    result: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRequest:
    """``up/<node>/lease``, QoS 0: asks for the leases of what runs here to be renewed. ``up_ms``: the
    node's monotonic clock at sending; the lease counts from there, so that no delay prolongs it."""

    boot: Token
    up_ms: Millis
    held: tuple[tuple[TaskName, Index, Epoch], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseAnswer:
    """``down/<node>/lease``, QoS 0: those of a request that are renewed, from the request's ``up_ms`` on.
    What is missing is no longer this node's."""

    boot: Token
    up_ms: Millis
    renewed: tuple[tuple[TaskName, Index, Epoch], ...]
