"""Verbs that ask a node what and how it is."""

from dataclasses import dataclass

from farshore_protocol.commands.catalogue.model import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class PingResult:
    """``at``: the node's wall clock, ms."""

    pong: bool
    at: int


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
    ),
)
