"""Verbs about the agent and the machine as a whole: diagnose, restart, reboot."""

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from farshore_protocol.commands.catalogue.model import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseArgs:
    """``lines``: of the agent's log; ``commands``: of the ledger. The newest of both are kept, as many as
    fit into the document."""

    lines: Annotated[int, Meta(ge=0, le=2000)] = 300
    commands: Annotated[int, Meta(ge=0, le=200)] = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseResult:
    """``at``: the node's wall clock, ms. ``sections``: ``agent``, ``settings``, ``link``, ``clock``,
    ``streams``, ``losses``, ``disk``, ``commands`` (never their arguments), ``config`` (never its content),
    ``machine``; one that could not be found out is ``{"error": …}``. ``log``: the agent's last lines;
    ``log_cut_lines``: how many that were asked for did not fit. What looks like a secret reads
    ``(redacted)`` everywhere, ``redacted`` times."""

    node: str
    agent_version: str
    at: int
    sections: dict[str, Any]
    log: list[str]
    log_cut_lines: int = 0
    redacted: int = 0


Reason = Annotated[str, Meta(max_length=256)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartAgentArgs:
    """``reason``: for the log."""

    reason: Reason = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartAgentResult:
    """The agent's start before and now; ``down_s``: from the command to the next start."""

    boot_before: str
    boot: str
    down_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootArgs:
    """``reason``: for the log."""

    reason: Reason = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RebootResult:
    """The kernel's boot id before and now; ``down_s``: by the node's wall clock, null where that was set
    back meanwhile."""

    boot_id_before: str
    boot_id: str
    down_s: float | None = None


UPKEEP: tuple[Verb, ...] = (
    Verb(
        name="diagnose",
        summary="Everything that support wants to see of a node, in one document without secrets.",
        risk="read",
        idempotent=True,
        timeout_s=60,
        args=DiagnoseArgs,
        result=DiagnoseResult,
    ),
    Verb(
        name="restart-agent",
        summary="Starts the agent anew; it has succeeded when the next start says so.",
        risk="change",
        idempotent=False,
        timeout_s=120,
        args=RestartAgentArgs,
        result=RestartAgentResult,
        needs=frozenset({"power"}),
    ),
    Verb(
        name="reboot",
        summary="Boots the machine anew; it has succeeded when the next boot says so.",
        risk="danger",
        idempotent=False,
        timeout_s=600,
        args=RebootArgs,
        result=RebootResult,
        needs=frozenset({"power"}),
    ),
)
