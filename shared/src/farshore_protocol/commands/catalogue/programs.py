"""Verbs about programs, processes and services of the machine."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from farshore_protocol.commands.catalogue.model import Verb
from farshore_protocol.names import NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecArgs:
    """``argv`` is handed to the operating system as it is, never to a shell."""

    argv: Annotated[
        list[Annotated[str, Meta(max_length=65_536)]], Meta(min_length=1, max_length=1024)
    ]
    cwd: str | None = None
    env: dict[str, str] | None = None
    stdin: str | None = None


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


PROGRAMS = (
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
