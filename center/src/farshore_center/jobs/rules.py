"""The rules of a job as data. Times in seconds; what must be true of them stands in `feasible.py`."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Of a wave or a budget: a count, or a percentage of the nodes that are meant."""

    count: int | None = None
    percent: float | None = None

    def of(self, total: int) -> int:
        """Rounded down: a limit is never exceeded."""
        if self.count is not None:
            return self.count
        return int(total * (self.percent or 0) / 100 + 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """`sizes` in turn; each wave after the last of them is `factor` times the one before."""

    sizes: tuple[Size, ...] = (Size(percent=100),)
    factor: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """At least `percent` of the nodes that ended must have succeeded, once `minimum` have ended.

    At the end of a wave it is judged however few they are.
    """

    percent: float = 100.0
    minimum: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectorGate:
    """At least `percent` of the touched nodes must match."""

    selector: str
    percent: float = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricGate:
    """The mean of the touched nodes' last values against that of the nodes not yet touched.

    It holds while the touched mean is `op` untouched mean × `factor` + `plus`.
    """

    series: str
    op: Literal["<=", ">="] = "<="
    factor: float = 1.0
    plus: float = 0.0


Gate = SelectorGate | MetricGate


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most so many nodes of a group's subtree may be disrupted, by whatever."""

    group: str
    most: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Opens when the cron expression says, in the node's own time zone, for `duration_s`."""

    cron: str
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """`approval`: a person is asked before each wave but the first. `gate_wait_s`: how long a gate
    may fail before the job halts."""

    waves: Waves = Waves()
    at_once: int = 100
    at_once_per_group: int | None = None
    success: Threshold = Threshold()
    soak_s: float = 0.0
    gates: tuple[Gate, ...] = ()
    gate_wait_s: float = 0.0
    retries: int = 0
    node_deadline_s: float = 300.0
    deadline_s: float | None = None
    budgets: tuple[Budget, ...] = ()
    approval: bool = False
    windows: tuple[Window, ...] = ()
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPayload:
    """`undo`: verb and arguments of the way back; without it a job can't be rolled back."""

    verb: str
    args: dict[str, Any]
    timeout_s: float | None = None
    undo: tuple[str, dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigPayload:
    """`patch` becomes the layer of an overlay that the job's nodes join wave by wave."""

    patch: dict[str, Any]
    priority: int


Payload = CommandPayload | ConfigPayload


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """At once, later (`at_ms`), or whenever `cron` says in `timezone`."""

    at_ms: int | None = None
    cron: str | None = None
    timezone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """`following`: who comes to match the selector later joins, at the same rate."""

    name: str
    selector: str
    payload: Payload
    rules: Rules = Rules()
    start: Start = Start()
    following: bool = False
