"""The contract of a verb's handler."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from farshore_protocol.commands import CommandError, Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a verb ended; ``state``: ``succeeded``, ``failed`` or ``timed_out``."""

    state: str = "succeeded"
    result: dict[str, Any] | None = None
    error: CommandError | None = None
    output: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a handler may use; ``emit`` sends output while the verb still runs. ``command_id`` is the
    command's own."""

    timeout_s: float
    output_max_bytes: int
    emit: Callable[[Output], Awaitable[None]]
    command_id: str = ""


Handler = Callable[[Any, Context], Awaitable[Outcome]]
Handlers = Mapping[str, Handler]
