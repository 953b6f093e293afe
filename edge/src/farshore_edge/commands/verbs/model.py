"""The contract of a verb's handler."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from farshore_protocol.commands import CommandError, Output

from farshore_edge.errors import DatabaseError


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a verb ended; ``state``: ``succeeded``, ``failed`` or ``timed_out``."""

    state: str = "succeeded"
    result: dict[str, Any] | None = None
    error: CommandError | None = None
    output: tuple[Output, ...] = ()


Pledge = Callable[[dict[str, Any]], Awaitable[None]]


async def _no_pledge(_word: dict[str, Any]) -> None:
    raise DatabaseError("there is no ledger to keep it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a handler may use; ``emit`` sends output while the verb still runs. ``command_id`` is the
    command's own. ``pledge`` makes something durable, raising DatabaseError where that fails; from
    then on the command can't be cancelled, and outlives this start of the agent: the verb's
    ``resume`` tells its end (``farshore_edge.commands.pledges``)."""

    timeout_s: float
    output_max_bytes: int
    emit: Callable[[Output], Awaitable[None]]
    command_id: str = ""
    pledge: Pledge = _no_pledge


Handler = Callable[[Any, Context], Awaitable[Outcome]]
Handlers = Mapping[str, Handler]
