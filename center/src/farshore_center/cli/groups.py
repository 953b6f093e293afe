"""``farshore groups``: the tree that the nodes stand in."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from farshore_center.cli.cells import clean, count
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import Cell, Sheet, left, right

if TYPE_CHECKING:
    from rich.tree import Tree

ROOT = "fleet"


def register(app: typer.Typer) -> None:
    command(app, "groups")(groups)


async def groups(session: Session) -> None:
    """The tree of groups, with the nodes of each subtree."""
    async with session.connect() as client:
        found = await client.items("/groups")
    if session.as_json:
        session.document({"items": found, "next": None})
        return
    found.sort(key=lambda item: item["path"].split("/"))
    if not found:
        session.text("no groups: farshore group create PATH, or an agent names one")
    elif session.terminal:
        session.console().print(groups_tree(found))
    else:
        session.table(groups_sheet(found))


def groups_sheet(items: Sequence[Mapping[str, Any]]) -> Sheet:
    """The tree for a pipe: whole paths, so that each line stands for itself."""
    sheet = Sheet(columns=[*left("group"), *right("nodes", "online")])
    for item in items:
        path = clean(item["path"]) or "/"
        sheet.add(path, count(item["nodes"]), Cell(count(item["online"])))
    return sheet


def groups_tree(items: Sequence[Mapping[str, Any]]) -> "Tree":
    """The tree for a terminal; items sorted, so that a parent comes before its children."""
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text(ROOT, style="bold"))
    branches = {"": root}
    for item in items:
        path = item["path"]
        parent, _, name = path.rpartition("/")
        label = Text(clean(name) or "/")
        style = "green" if item["online"] == item["nodes"] else "yellow"
        label.append(f"  {count(item['online'])} of {count(item['nodes'])} online", style=style)
        branches[path] = branches.get(parent, root).add(label)
    return root
