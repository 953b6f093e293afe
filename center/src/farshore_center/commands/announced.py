"""Which verbs nodes have announced, and what that means for a command. Pure but for the registry's word.

A command is refused as a whole where no node could do it. Where some can, the others are rejected when
their turn comes: by then the node is there, and what it has announced is of its present start.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from farshore_protocol.commands import VERBS

from farshore_center.api.problems import Problem
from farshore_center.commands.request import NOT_VALID, NewCommand


class Announced(Protocol):
    """What the registry knows."""

    def verbs_of(self, node: str, /) -> frozenset[str] | None:
        """None: the node has announced nothing yet."""
        ...

    def everywhere(self) -> frozenset[str]:
        """The verbs that any node has."""
        ...


class NothingAnnounced:
    """Where no registry is at hand: every node may have every verb."""

    def verbs_of(self, _node: str) -> frozenset[str] | None:
        return None

    def everywhere(self) -> frozenset[str]:
        return frozenset()


def lacks(announced: Announced, node: str, verb: str) -> bool:
    """Whether it is known that the node does not have the verb."""
    verbs = announced.verbs_of(node)
    return verbs is not None and verb not in verbs


def with_announced(request: NewCommand, announced: Announced) -> NewCommand:
    """The request with what nodes have announced; Problem when none of its nodes has the verb."""
    verb = request.verb
    known = verb in VERBS
    if not known:  # the whole fleet is asked only then
        everywhere = announced.everywhere()
        known = verb in everywhere
        request = replace(request, announced=everywhere, foreign=known)
    if known and request.nodes and all(lacks(announced, node, verb) for node in request.nodes):
        raise _nobody_has(verb, request.nodes, announced)
    return request


def _nobody_has(verb: str, nodes: Sequence[str], announced: Announced) -> Problem:
    who = nodes[0] if len(nodes) == 1 else f"none of the {len(nodes)} nodes"
    has = "has not announced" if len(nodes) == 1 else "has announced"
    return Problem(
        status=422,
        title=NOT_VALID,
        field="verb",
        detail=f"{who} {has} the verb {verb}",
        expected=f"one that they have: {', '.join(sorted(_common(nodes, announced)))}",
    )


def _common(nodes: Iterable[str], announced: Announced) -> frozenset[str]:
    """What any of them has."""
    return frozenset().union(*(announced.verbs_of(node) or () for node in nodes))
