"""Verbs about programs, processes and services of the machine."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

from farshore_protocol.commands.catalogue.model import Verb
from farshore_protocol.names import NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecArgs:
    """``argv`` is handed to the operating system as it is, never to a shell. The others are limits, and
    can only be lower than the node's own: processor time, memory and number of its processes in all;
    open files of each of them; size of a file that it writes."""

    argv: Annotated[
        list[Annotated[str, Meta(max_length=65_536)]], Meta(min_length=1, max_length=1024)
    ]
    cwd: str | None = None
    env: dict[str, str] | None = None
    stdin: str | None = None
    cpu_s: Annotated[int, Meta(ge=1, le=7 * 86_400)] | None = None
    memory_bytes: Annotated[int, Meta(ge=1024 * 1024, lt=2**53)] | None = None
    processes: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    open_files: Annotated[int, Meta(ge=3, le=1_000_000)] | None = None
    file_bytes: Annotated[int, Meta(ge=1, lt=2**53)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """One of ``exit_code`` and ``signal`` (its name); ``output_cut_bytes``: what was over the limit."""

    exit_code: int | None
    signal: str | None
    output_cut_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelArgs:
    """``id`` of the command to be ended; ``verb``: its verb, where the sender knows it."""

    id: Annotated[str, Meta(pattern=rf"\A{NAME}\Z")]
    verb: Annotated[str, Meta(max_length=64)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelResult:
    """``state``: in which the command is now; ``cancelled``: whether that is ``cancelled``."""

    id: str
    state: str
    cancelled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessesArgs:
    """``name``: only processes whose name or command line holds this text. ``interval_s``: over how long
    the use of the processor is measured."""

    sort: Literal["cpu", "memory", "pid", "started"] = "cpu"
    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    interval_s: Annotated[float, Meta(ge=0.05, le=5)] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessesResult:
    """``count``: how many there are, or fit ``name``. Each process: ``pid``, ``ppid``, ``user``,
    ``state``, ``name``, ``command`` (cut at 200 characters), ``cpu_percent`` (of one core), ``cpu_s``,
    ``memory_bytes`` (resident), ``threads``, ``started_ms`` (the node's wall clock)."""

    count: int
    processes: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesArgs:
    """``unit``: of all actions but ``list``; ``.service`` may be left out."""

    action: Literal["list", "status", "start", "stop", "restart"] = "list"
    unit: (
        Annotated[str, Meta(pattern=r"\A[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\-]*\Z", max_length=255)]
        | None
    ) = None

    def __post_init__(self) -> None:
        if (self.unit is None) != (self.action == "list"):
            raise ValueError(
                "unit: list takes none"
                if self.action == "list"
                else f"unit: {self.action} needs one"
            )

    @property
    def only_asks(self) -> bool:
        """Whether nothing is changed by it."""
        return self.action in ("list", "status")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicesResult:
    """``services``: each with ``unit``, ``load``, ``active``, ``sub``, ``description``; of one unit also
    ``enabled``, ``pid``, ``restarts``, ``memory_bytes`` and ``since`` where systemd knows them."""

    services: list[dict[str, Any]]


PROGRAMS = (
    Verb(
        name="processes",
        summary="The processes of the machine, with what they use of it.",
        risk="read",
        idempotent=True,
        timeout_s=30,
        args=ProcessesArgs,
        result=ProcessesResult,
    ),
    Verb(
        name="services",
        summary="Lists systemd's services, says how one is, starts, stops or restarts it.",
        risk="change",
        idempotent=False,
        timeout_s=120,
        args=ServicesArgs,
        result=ServicesResult,
        needs=frozenset({"systemd"}),
    ),
    Verb(
        name="cancel",
        summary="Ends a command of this node by its id: one that waits, runs, or has not come yet.",
        risk="change",
        idempotent=True,
        timeout_s=30,
        args=CancelArgs,
        result=CancelResult,
        queued=False,
    ),
    Verb(
        name="exec",
        summary="Runs a program by its argument vector and gives its exit code and output.",
        risk="danger",
        idempotent=False,
        timeout_s=60,
        args=ExecArgs,
        result=ExecResult,
        output=True,
    ),
)
