"""The shapes of requests and answers about commands, checked and documented by pydantic."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from farshore_center.api.problems import Problem
from farshore_center.commands.request import DEFAULT_TTL_S, MAX_S, NOT_VALID, NodeChoice

MAX_NODES = 10_000

Seconds = Annotated[float, Field(gt=0, le=MAX_S, allow_inf_nan=False)]


class CommandBody(BaseModel):
    """A new command, for exactly one of `node`, `nodes`, `selector` and `all`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    node: str | None = None
    nodes: Annotated[list[str], Field(max_length=MAX_NODES)] | None = None
    all: bool | None = None
    selector: str | None = None
    allow_empty: bool = False
    verb: str
    args: dict[str, Any] = Field(default_factory=dict)
    ttl_s: Seconds = DEFAULT_TTL_S
    timeout_s: Seconds | None = None
    secret: bool = False

    def choice(self) -> NodeChoice:
        given = [
            name for name in ("node", "nodes", "all", "selector") if getattr(self, name) is not None
        ]
        if len(given) != 1 or self.all is False:
            raise Problem(
                status=422,
                title=NOT_VALID,
                field=given[0] if given else "node",
                detail=f"{' and '.join(given)} given" if given else "no node is chosen",
                expected="exactly one of node, nodes, selector and all (true)",
            )
        if self.nodes is not None and not self.nodes:
            raise Problem(
                status=422,
                title=NOT_VALID,
                field="nodes",
                detail="the list is empty",
                expected="at least one node",
            )
        nodes = None if self.nodes is None else tuple(dict.fromkeys(self.nodes))
        return NodeChoice(node=self.node, nodes=nodes, all=bool(self.all), selector=self.selector)


class ErrorOut(BaseModel):
    code: str
    message: str


class OutputOut(BaseModel):
    offset: int
    stream: str
    text: str


class TargetOut(BaseModel):
    node: str
    state: str
    reason: str | None
    held: bool
    cancelling: bool
    updated_at: str
    result: dict[str, Any] | None
    error: ErrorOut | None
    output: list[OutputOut]
    history: list[tuple[str, str]]


class CommandSummaryOut(BaseModel):
    """`summary` counts the targets by their state; `done`: every one is at its end. `secret`: `args` are
    never shown, and a while after its end output and results are `erased`."""

    id: str
    verb: str
    args: dict[str, Any]
    created_at: str
    expires_at: str
    timeout_s: float | None
    by: str
    secret: bool
    erased: bool
    done: bool
    summary: dict[str, int]


class CommandOut(CommandSummaryOut):
    targets: list[TargetOut]


class CommandListOut(BaseModel):
    items: list[CommandSummaryOut]
    next: str | None


class NotCancelledOut(BaseModel):
    """`cancelling`: its node was asked to end it; otherwise it is at its end."""

    node: str
    state: str
    cancelling: bool


class CancellationOut(CommandOut):
    """`not_cancelled`: the targets that had been sent already, and how far they are; `asked_by`: the id
    of the command `cancel` that asks their nodes."""

    asked_by: str | None
    not_cancelled: list[NotCancelledOut]
