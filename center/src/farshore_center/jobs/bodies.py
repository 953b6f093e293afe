"""The shapes of requests about jobs, checked and documented by pydantic, and the way to `rules.py`.

What can be wrong with one field alone is said here; what must be true of all together stands in
`feasible.py`, the arguments of a verb in the room of commands, a patch in that of configuration.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from farshore_center.api.problems import Problem
from farshore_center.commands.request import NOT_VALID
from farshore_center.jobs.rules import (
    Budget,
    CommandPayload,
    ConfigPayload,
    Gate,
    MetricGate,
    Payload,
    Rules,
    SelectorGate,
    Size,
    Spec,
    Start,
    Threshold,
    Waves,
    Window,
)

MAX_S = 366 * 86_400
MAX_NODES = 1_000_000
MAX_LIST = 50
MAX_PRIORITY = 1_000_000
DEFAULT_PRIORITY = 900_000

_STRICT = ConfigDict(extra="forbid", strict=True)


def _size(value: int | str) -> int | str:
    """A count from 1, or a percentage such as `"2.5%"`."""
    if isinstance(value, int):
        if not 1 <= value <= MAX_NODES:
            raise ValueError(f"a count from 1 to {MAX_NODES}")
        return value
    try:
        percent = float(value.removesuffix("%"))
    except ValueError:
        percent = 0.0
    if not value.endswith("%") or not 0 < percent <= 100:
        raise ValueError(
            'a count such as 10, or a percentage such as "2.5%", above 0 and up to 100'
        )
    return value


SizeIn = Annotated[int | str, AfterValidator(_size)]
Seconds = Annotated[float, Field(ge=0, le=MAX_S, allow_inf_nan=False)]
Some = Annotated[float, Field(gt=0, le=MAX_S, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00]*$")]


def size(value: int | str) -> Size:
    if isinstance(value, int):
        return Size(count=value)
    return Size(percent=float(value.removesuffix("%")))


class WavesIn(BaseModel):
    """`sizes` in turn, counts or percentages; each wave after the last of them is `factor` times the
    one before."""

    model_config = _STRICT

    sizes: Annotated[list[SizeIn], Field(min_length=1, max_length=MAX_LIST)] = ["100%"]
    factor: Annotated[float, Field(ge=1, le=1000, allow_inf_nan=False)] = 1.0


class SuccessIn(BaseModel):
    model_config = _STRICT

    percent: Percent = 100.0
    minimum: Annotated[int, Field(ge=1, le=MAX_NODES)] = 1


class SelectorGateIn(BaseModel):
    model_config = _STRICT

    selector: str
    percent: Percent = 100.0


class MetricGateIn(BaseModel):
    model_config = _STRICT

    series: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    op: Literal["<=", ">="] = "<="
    factor: Number = 1.0
    plus: Number = 0.0


class BudgetIn(BaseModel):
    """`group` empty: the whole fleet."""

    model_config = _STRICT

    group: str = ""
    most: SizeIn


class WindowIn(BaseModel):
    model_config = _STRICT

    cron: Text
    duration_s: Some


class RulesIn(BaseModel):
    model_config = _STRICT

    waves: WavesIn = WavesIn()
    at_once: Annotated[int, Field(ge=1, le=MAX_NODES)] = 100
    at_once_per_group: Annotated[int, Field(ge=1, le=MAX_NODES)] | None = None
    success: SuccessIn = SuccessIn()
    soak_s: Seconds = 0.0
    gates: Annotated[list[SelectorGateIn | MetricGateIn], Field(max_length=MAX_LIST)] = []
    gate_wait_s: Seconds = 0.0
    retries: Annotated[int, Field(ge=0, le=100)] = 0
    node_deadline_s: Some = 300.0
    deadline_s: Some | None = None
    budgets: Annotated[list[BudgetIn], Field(max_length=MAX_LIST)] = []
    approval: bool = False
    windows: Annotated[list[WindowIn], Field(max_length=MAX_LIST)] = []
    timezone: Text = "UTC"

    def rules(self) -> Rules:
        return Rules(
            waves=Waves(sizes=tuple(map(size, self.waves.sizes)), factor=self.waves.factor),
            at_once=self.at_once,
            at_once_per_group=self.at_once_per_group,
            success=Threshold(percent=self.success.percent, minimum=self.success.minimum),
            soak_s=self.soak_s,
            gates=tuple(map(_gate, self.gates)),
            gate_wait_s=self.gate_wait_s,
            retries=self.retries,
            node_deadline_s=self.node_deadline_s,
            deadline_s=self.deadline_s,
            budgets=tuple(Budget(group=each.group, most=size(each.most)) for each in self.budgets),
            approval=self.approval,
            windows=tuple(
                Window(cron=each.cron, duration_s=each.duration_s) for each in self.windows
            ),
            timezone=self.timezone,
        )


def _gate(gate: SelectorGateIn | MetricGateIn) -> Gate:
    if isinstance(gate, SelectorGateIn):
        return SelectorGate(selector=gate.selector, percent=gate.percent)
    return MetricGate(series=gate.series, op=gate.op, factor=gate.factor, plus=gate.plus)


class UndoIn(BaseModel):
    model_config = _STRICT

    verb: str
    args: dict[str, Any] = Field(default_factory=dict)


class CommandIn(BaseModel):
    """`undo`: the way back; without it the job can't be rolled back."""

    model_config = _STRICT

    verb: str
    args: dict[str, Any] = Field(default_factory=dict)
    timeout_s: Some | None = None
    undo: UndoIn | None = None


class ConfigIn(BaseModel):
    """`patch`: a JSON merge patch; `priority`: its place among the overlays, a higher one wins."""

    model_config = _STRICT

    patch: dict[str, Any]
    priority: Annotated[int, Field(ge=0, le=MAX_PRIORITY)] = DEFAULT_PRIORITY


class StartIn(BaseModel):
    """At once, later (`at`), or whenever `cron` says in `timezone`."""

    model_config = _STRICT

    at: Annotated[AwareDatetime, Field(strict=False)] | None = None
    cron: Text | None = None
    timezone: Text = "UTC"


class JobBody(BaseModel):
    """A new job: exactly one of `command` and `config`, for the nodes that `selector` means."""

    model_config = _STRICT

    name: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
    selector: str
    command: CommandIn | None = None
    config: ConfigIn | None = None
    rules: RulesIn = RulesIn()
    start: StartIn = StartIn()
    following: bool = False
    allow_empty: bool = False
    author: Text | None = None
    message: Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")] | None = None

    def spec(self) -> Spec:
        at = self.start.at
        return Spec(
            name=self.name,
            selector=self.selector,
            payload=self._payload(),
            rules=self.rules.rules(),
            start=Start(
                at_ms=None if at is None else round(at.timestamp() * 1000),
                cron=self.start.cron,
                timezone=self.start.timezone,
            ),
            following=self.following,
        )

    def _payload(self) -> Payload:
        if (self.command is None) == (self.config is None):
            raise Problem(
                status=422,
                title=NOT_VALID,
                field="command",
                detail="no payload is given" if self.command is None else "two payloads are given",
                expected="exactly one of command and config",
            )
        if self.command is not None:
            undo = self.command.undo
            return CommandPayload(
                verb=self.command.verb,
                args=self.command.args,
                timeout_s=self.command.timeout_s,
                undo=None if undo is None else (undo.verb, undo.args),
            )
        if self.config is None:
            raise ValueError("unreachable")
        return ConfigPayload(patch=self.config.patch, priority=self.config.priority)


class ActionBody(BaseModel):
    """What a person says with pause, abort and rollback."""

    model_config = _STRICT

    author: Text | None = None
    message: Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00]*$")] | None = None


class ResumeBody(ActionBody):
    """`deadline_s`: a new deadline from now on."""

    deadline_s: Some | None = None


class ApproveBody(ActionBody):
    """`wave`: the one that is meant; another one that waits is not approved by it."""

    wave: Annotated[int, Field(ge=1)] | None = None
