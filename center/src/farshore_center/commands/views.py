"""A command as the API shows it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from farshore_protocol.commands import Output
from farshore_protocol.commands.lifecycle import FINAL

from farshore_center.commands.engine import Target
from farshore_center.events.instant import rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    target: Target
    output: tuple[Output, ...] = ()

    def document(self) -> dict[str, Any]:
        target = self.target
        return {
            "node": target.node,
            "state": target.state,
            "reason": target.reason,
            "held": target.held,
            "cancelling": target.cancelling,
            "updated_at": rfc3339(target.updated_ms),
            "result": _json(target.result),
            "error": _json(target.error),
            "output": list(self.output),
            "history": [[step.state, rfc3339(step.at_ms)] for step in target.history],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandView:
    """`args` is JSON text, and not shown of a `secret` one; `targets` None: not asked for. `repeated`:
    an earlier request made it."""

    id: str
    verb: str
    args: str
    created_ms: int
    expires_ms: int
    timeout_s: float | None
    by: str
    summary: Mapping[str, int]
    targets: Sequence[TargetView] | None = None
    repeated: bool = False
    secret: bool = False
    erased: bool = False

    @property
    def done(self) -> bool:
        return all(state in FINAL for state in self.summary)

    def document(self) -> dict[str, Any]:
        """For orjson."""
        document: dict[str, Any] = {
            "id": self.id,
            "verb": self.verb,
            "args": {} if self.secret else orjson.Fragment(self.args),
            "created_at": rfc3339(self.created_ms),
            "expires_at": rfc3339(self.expires_ms),
            "timeout_s": self.timeout_s,
            "by": self.by,
            "secret": self.secret,
            "erased": self.erased,
            "done": self.done,
            "summary": dict(self.summary),
        }
        if self.targets is not None:
            document["targets"] = [target.document() for target in self.targets]
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPage:
    """Commands, the newest first; `next` is the cursor of those before, None at the end."""

    items: tuple[CommandView, ...]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """What is left of a command, and which targets are not cancelled, or not yet: `asked_by` is the
    command that asks the nodes of those that are not at their end."""

    command: CommandView
    not_cancelled: tuple[Target, ...]
    asked_by: str | None = None

    def document(self) -> dict[str, Any]:
        return self.command.document() | {
            "asked_by": self.asked_by,
            "not_cancelled": [
                {"node": target.node, "state": target.state, "cancelling": target.cancelling}
                for target in self.not_cancelled
            ],
        }


def _json(text: str | None) -> orjson.Fragment | None:
    return None if text is None else orjson.Fragment(text)
