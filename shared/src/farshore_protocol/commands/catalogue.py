"""The catalogue of verbs: what each needs, gives and risks. Checklist: docs/checklists/new-verb.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from msgspec import Meta

Risk = Literal["read", "change", "danger"]


@dataclass(
    frozen=True,
    slots=True,
    kw_only=True,
)
class NoArgs:
    """A verb without arguments."""


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
class ConfigOverrideArgs:
    """``set`` needs ``config`` (an RFC 7396 merge patch), ``author`` and ``reason``; without
    ``ttl_s`` it stands until it is cleared."""

    action: Literal["show", "set", "clear"] = "show"
    config: dict[str, Any] | None = None
    author: Annotated[str, Meta(max_length=256)] = ""
    reason: Annotated[str, Meta(max_length=1024)] = ""
    ttl_s: Annotated[float, Meta(gt=0, le=366 * 86_400)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """``idempotent``: may be run again after a crash; ``args``: the type that they must fit."""

    name: str
    summary: str
    risk: Risk
    idempotent: bool
    timeout_s: float
    args: type[Any] = NoArgs


VERBS: Mapping[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb(
            name="ping",
            summary="Answers at once; shows that the node hears and can speak.",
            risk="read",
            idempotent=True,
            timeout_s=10,
        ),
        Verb(
            name="facts",
            summary="Finds out anew what machine this is, and answers with it.",
            risk="read",
            idempotent=True,
            timeout_s=30,
        ),
        Verb(
            name="status",
            summary="How the agent is: link, clock, streams, what it is doing.",
            risk="read",
            idempotent=True,
            timeout_s=10,
        ),
        Verb(
            name="verbs",
            summary="The verbs that this node knows, with their risk and default timeout.",
            risk="read",
            idempotent=True,
            timeout_s=10,
        ),
        Verb(
            name="exec",
            summary="Runs a program by its argument vector and gives its exit code and output.",
            risk="danger",
            idempotent=False,
            timeout_s=60,
            args=ExecArgs,
        ),
        Verb(
            name="config-override",
            summary="Shows, sets or clears the node's own layer of configuration above all others.",
            risk="change",
            idempotent=True,
            timeout_s=120,
            args=ConfigOverrideArgs,
        ),
        Verb(
            name="config-retry",
            summary="Forgets which configurations have failed, and tries the desired one again.",
            risk="change",
            idempotent=True,
            timeout_s=120,
        ),
    )
}
