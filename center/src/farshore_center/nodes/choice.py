"""Which nodes a request means: one, several, or all of them."""

import difflib

from farshore_center.api.problems import FieldError, Problem
from farshore_center.commands.request import NodeChoice
from farshore_center.nodes.registry import NodeEntry, Registry

SHOWN = 20
MANY = 2_000
"""Among more names no near ones are looked for: it would hold up everybody else."""


def known(registry: Registry, name: str) -> NodeEntry:
    """The node, or a 404 that names it."""
    entry = registry.get(name)
    if entry is None:
        raise Problem(
            status=404,
            title="No such node",
            detail=f"there is no node {name[:64]!a}{_near(registry, name)}",
            field="node",
        )
    return entry


def chosen(registry: Registry, choice: NodeChoice) -> list[str]:
    """The names that a choice means; unknown ones are refused by name."""
    if choice.all:
        return [entry.name for entry in registry.all()]
    names = list(dict.fromkeys([choice.node] if choice.node is not None else choice.nodes or []))
    unknown = [name for name in names if registry.get(name) is None]
    if unknown:
        raise Problem(
            status=422,
            title="Unknown nodes",
            errors=[
                FieldError(
                    field="node" if choice.node is not None else "nodes",
                    detail=f"there is no node {name[:64]!a}{_near(registry, name)}",
                    expected="the name of a registered node, see GET /api/v1/nodes",
                )
                for name in unknown[:SHOWN]
            ],
            detail=f"{len(unknown)} of {len(names)} not known",
        )
    return names


def _near(registry: Registry, name: str) -> str:
    names = [entry.name for entry in registry.all()]
    near = difflib.get_close_matches(name[:64], names, n=2) if len(names) <= MANY else []
    return f"; did you mean {' or '.join(near)}?" if near else ""
