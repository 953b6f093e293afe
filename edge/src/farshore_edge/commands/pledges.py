"""A command whose end only a later start of the agent can tell: what it has pledged, and who tells.

The pledge lies in the ledger beside the request, durable before anything is done. Such a command is
never run a second time: the next start asks its verb what became of it.
"""

from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

import msgspec
from farshore_protocol.codec import encode
from farshore_protocol.commands import Command

from farshore_edge.commands.verbs.model import Context, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Pledged(Command):
    """A recorded command with what its verb wants to know at the next start."""

    pledge: dict[str, Any] | None = None


@runtime_checkable
class Resumable(Protocol):
    """A verb that pledges."""

    async def __call__(self, args: Any, context: Context, /) -> Outcome: ...

    async def resume(self, pledge: dict[str, Any], context: Context) -> Outcome:
        """How a command ended that an earlier start of the agent has begun."""
        ...


def with_pledge(request: bytes, pledge: dict[str, Any]) -> bytes:
    """The request as it is recorded from now on."""
    command = msgspec.json.decode(request, type=Command)
    values = {field.name: getattr(command, field.name) for field in fields(Command)}
    return encode(Pledged(**values, pledge=pledge))


def pledge_of(request: bytes) -> dict[str, Any] | None:
    """What was pledged, None where nothing was."""
    try:
        return msgspec.json.decode(request, type=Pledged).pledge
    except msgspec.MsgspecError:
        return None
