"""What a verb is. Checklist: docs/checklists/new-verb.md."""

from dataclasses import dataclass
from typing import Any, Literal

Risk = Literal["read", "change", "danger"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NoArgs:
    """A verb without arguments."""


def risk_of(verb: "Verb", args: object) -> Risk:
    """The risk of a verb with these arguments: some only ask with some of them (``only_asks``)."""
    return "read" if getattr(args, "only_asks", False) else verb.risk


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """``risk``: ``read`` changes nothing; ``change`` and ``danger`` are never taken unsigned outside
    of development. ``idempotent``: may be run again after a crash. ``args``, ``result``: the types
    that they must fit; ``result`` is that of a success, and may stand beside a failure.
    ``needs``: the capabilities without which a node does not have it, ``systemd`` for example.
    ``output``: whether it writes output besides its result. ``queued``: whether it waits for a place
    when the node has as many commands as it runs at once.
    """

    name: str
    summary: str
    risk: Risk
    idempotent: bool
    timeout_s: float
    args: type[Any] = NoArgs
    result: type[Any] | None = None
    needs: frozenset[str] = frozenset()
    output: bool = False
    queued: bool = True
