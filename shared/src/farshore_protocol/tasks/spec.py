"""What a task is: work that is placed on a node, once or in several instances.

``requests`` is what the center reserves, ``limits`` what the node enforces; the words are those of
Kubernetes. The contract for a node that can't be heard (``disconnect``) follows Nomad's, with a lease
that the node keeps by its own monotonic clock (Gray and Cheriton, SOSP 1989).
JSON Schema (2020-12) is made from these types by ``msgspec.json.schema``.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from msgspec import Meta

from farshore_protocol.config.documents import Argv, Seconds
from farshore_protocol.names import NAME

TaskName = Annotated[str, Meta(pattern=f"^{NAME}$")]
Weight = Annotated[int, Meta(ge=-100, le=100)]
Bytes = Annotated[int, Meta(ge=0, le=2**60)]
Cores = Annotated[float, Meta(ge=0, le=4096)]
Short = Annotated[str, Meta(min_length=1, max_length=256)]
Sha256 = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")]

MIN_RENEWALS_S = 1.0
"""What must be left of ``lost_after_s`` beside the grace for stopping: time to renew a lease."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """``count`` whole GPUs, or ``milli`` thousandths of a single one; of one of the ``models``, if
    any are named."""

    count: Annotated[int, Meta(ge=0, le=64)] = 0
    milli: Annotated[int, Meta(ge=0, le=999)] = 0
    models: tuple[Short, ...] = ()

    def __post_init__(self) -> None:
        if self.count and self.milli:
            raise ValueError("gpu: either count (whole GPUs) or milli (a share of one), not both")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What is reserved at the node. ``devices``: names of devices there (fact ``devices``), each
    given to one task at a time."""

    cpu_cores: Cores = 0.1
    memory_bytes: Bytes = 64 * 1024 * 1024
    disk_bytes: Bytes = 0
    gpu: Gpus = Gpus()
    devices: tuple[Short, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the node lets it use; None: no more limit than the machine's. ``pin_cpus``: whole cores
    of its own, as many as ``requests.cpu_cores`` rounded up."""

    cpu_cores: Cores | None = None
    memory_bytes: Bytes | None = None
    pids: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    pin_cpus: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Nodes that match are preferred (weight above 0) or avoided (below)."""

    selector: Annotated[str, Meta(min_length=1, max_length=4096)]
    weight: Weight = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Instances are spread evenly over the values of ``over``: ``node``, ``group`` (``depth`` levels of
    its path) or ``label.K``."""

    over: Annotated[str, Meta(pattern=r"^(node|group|label\.[A-Za-z0-9_-]{1,64})$")] = "node"
    depth: Annotated[int, Meta(ge=1, le=7)] = 7
    weight: Annotated[int, Meta(ge=1, le=100)] = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Bytes that the task reads or writes, and where they lie: ``node:NAME``, ``group:PATH``,
    ``core``."""

    where: Annotated[str, Meta(pattern=r"^(node:\S+|group:\S+|core)$", max_length=512)]
    bytes: Bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """After an end by itself: ``delay_s`` doubles up to ``delay_max_s``; more than ``attempts`` within
    ``interval_s`` fail the instance (0: any number). A service is restarted ``always`` by default, a
    batch ``on_failure``."""

    policy: Literal["always", "on_failure", "never"] | None = None
    attempts: Annotated[int, Meta(ge=0, le=1000)] = 0
    interval_s: Seconds = 600.0
    delay_s: Annotated[float, Meta(ge=0, le=3600)] = 0.2
    delay_max_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheck:
    """Asked every ``interval_s`` while it runs; just one kind is set. After ``failures`` in a row the
    instance is restarted; until the first success, or ``start_s`` at most, it is starting."""

    command: Argv | None = None
    http: Short | None = None
    tcp: Short | None = None
    interval_s: Seconds = 10.0
    timeout_s: Seconds = 5.0
    start_s: Seconds = 30.0
    failures: Annotated[int, Meta(ge=1, le=100)] = 3

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.command, self.http, self.tcp)) != 1:
            raise ValueError("health: expected just one of command, http, tcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file fetched by HTTPS (``http`` on loopback alone) into the task's directory; its digest is
    checked before it is there. ``unpack``: a tar archive or a wheel is laid out at ``path``."""

    url: Annotated[str, Meta(pattern=r"^https?://\S+$", max_length=2048)]
    digest: Sha256
    path: Annotated[str, Meta(min_length=1, max_length=512, pattern=r"^[^/\x00][^\x00]*$")]
    executable: bool = False
    unpack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FromConfig:
    """A value of the node's configuration, by an RFC 6901 pointer; ``default`` where there is none."""

    config: Annotated[str, Meta(pattern=r"^/", max_length=1024)]
    default: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """What holds while the center can't hear the node.

    ``on_disconnect``: ``keep`` lets the task go on; ``stop`` ends it at the node before
    ``lost_after_s`` have passed since its lease was last renewed, by the node's own monotonic clock,
    so that a replacement never overlaps it. ``lost_after_s``: from when on it counts as lost.
    ``replace``: whether it then runs elsewhere. ``on_reconnect``: which of the two stays where the
    original still runs. ``silent_site``: whether it is also replaced where every node of its
    site is silent, which is a cut link rather than so many deaths.
    """

    on_disconnect: Literal["keep", "stop"] = "keep"
    lost_after_s: Annotated[float, Meta(ge=0.5, le=30 * 86_400)] = 30.0
    replace: bool = True
    on_reconnect: Literal["keep_original", "keep_replacement"] = "keep_replacement"
    silent_site: Literal["wait", "replace"] = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task as it is written by its owner; the center adds a revision.

    ``driver`` runs it with the settings in ``run`` (each driver has a schema of its own). ``count``:
    how many instances. ``constraint``: a selector of nodes that may run it. ``where``: on the edge, in
    the core (nodes of the group ``core``), or where it is done sooner and cheaper. ``deadline_s``:
    after it was asked for, or after its occurrence. ``run_s``: how long it is thought to run, used
    until runs were measured. ``battery_min_percent``: not on nodes below it.
    ``group``: whose quota counts. ``cron``: occurrences by the center's clock in UTC, batch alone.
    """

    kind: Literal["service", "batch"]
    driver: TaskName
    run: dict[str, Any] = field(default_factory=dict)
    count: Annotated[int, Meta(ge=1, le=10_000)] = 1
    requests: Requests = Requests()
    limits: Limits = Limits()
    constraint: Annotated[str, Meta(min_length=1, max_length=4096)] = "all"
    affinities: tuple[Affinity, ...] = ()
    spread: tuple[Spread, ...] = ()
    priority: Annotated[int, Meta(ge=0, le=100)] = 50
    deadline_s: Seconds | None = None
    run_s: Seconds | None = None
    reads: tuple[Data, ...] = ()
    writes: tuple[Data, ...] = ()
    where: Literal["edge", "core", "auto"] = "auto"
    battery_min_percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    restart: Restart = Restart()
    health: HealthCheck | None = None
    stop_signal: Annotated[str, Meta(pattern=r"^SIG[A-Z0-9]+$")] = "SIGTERM"
    stop_grace_s: Annotated[float, Meta(ge=0, le=3600)] = 5.0
    cron: Annotated[str, Meta(max_length=128)] | None = None
    artifacts: tuple[Artifact, ...] = ()
    env: dict[str, str | FromConfig] = field(default_factory=dict)
    group: Annotated[str, Meta(max_length=512)] = ""
    disconnect: Disconnect = Disconnect()
    policy: TaskName | None = None

    def __post_init__(self) -> None:
        if self.cron is not None and self.kind != "batch":
            raise ValueError("cron: a service runs all the time; expected kind batch")
        if self.deadline_s is not None and self.kind != "batch":
            raise ValueError("deadline_s: a service has no end; expected kind batch")
        lease = self.disconnect
        if lease.on_disconnect == "stop":
            least_s = self.stop_grace_s + MIN_RENEWALS_S
            if lease.lost_after_s < least_s:
                raise ValueError(
                    f"disconnect.lost_after_s: {lease.lost_after_s:g} leaves no time to stop within the "
                    f"lease; expected stop_grace_s + {MIN_RENEWALS_S:g} = {least_s:g} or more"
                )

    def restart_policy(self) -> str:
        """As it is written, or as the kind has it."""
        return self.restart.policy or ("always" if self.kind == "service" else "on_failure")
