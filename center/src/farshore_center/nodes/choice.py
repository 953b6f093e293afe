"""Which nodes a request means: one, several, or all of them."""

from farshore_center.api.problems import FieldError, Problem
from farshore_center.commands.request import NodeChoice
from farshore_center.nodes.registry import NodeEntry, Registry


def known(registry: Registry, name: str) -> NodeEntry:
    """The node, or a 404 that names it."""
    entry = registry.get(name)
    if entry is None:
        raise Problem(
            status=404, title="No such node", detail=f"there is no node {name[:64]!a}", field="node"
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
                    detail=f"there is no node {name[:64]!a}",
                    expected="the name of a registered node, see GET /api/v1/nodes",
                )
                for name in unknown[:20]
            ],
            detail=f"{len(unknown)} of {len(names)} nodes are not known",
        )
    return names
