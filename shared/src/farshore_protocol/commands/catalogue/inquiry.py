"""Verbs that ask a node what and how it is."""

from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from farshore_protocol.commands.catalogue.model import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class PingResult:
    """``at``: the node's wall clock, ms."""

    pong: bool
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbsArgs:
    """``verb``: of this one alone, and then with the JSON Schemas of its arguments and its result."""

    verb: Annotated[str, Meta(max_length=64)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbsResult:
    """``verbs``: each with `summary`, `risk`, `idempotent`, `timeout_s`, `digest` (of all that a sender
    minds) and, of one alone, `args`, `result`, `needs`, `output`, `queued`; ``digest``: of all of them,
    as the birth says it."""

    verbs: dict[str, Any]
    digest: str


INQUIRY = (
    Verb(
        name="ping",
        summary="Answers at once; shows that the node hears and can speak.",
        risk="read",
        idempotent=True,
        timeout_s=10,
        result=PingResult,
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
        args=VerbsArgs,
        result=VerbsResult,
    ),
)
