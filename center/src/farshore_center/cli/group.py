"""``farshore group …``: look at the tree of groups and change it."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import NOTHING, clean, count, counted
from farshore_center.cli.groups import groups
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import Sheet, left, right

Path = Annotated[str, typer.Argument(metavar="PATH", help="The group, for example eu/hamburg.")]
Parents = Annotated[
    bool, typer.Option("--parents", help="Make the groups above it that are missing.")
]


def register(app: typer.Typer) -> None:
    inner = typer.Typer(no_args_is_help=True, help="The tree of groups: look at it, change it.")
    command(inner, "list")(list_groups)
    command(inner, "tree")(groups)
    command(inner, "show")(show)
    command(inner, "create")(create)
    command(inner, "describe")(describe)
    command(inner, "move")(move)
    command(inner, "delete")(delete)
    app.add_typer(inner, name="group")


async def list_groups(session: Session) -> None:
    """Every group, a line each."""
    async with session.connect() as client:
        found = await client.items("/groups")
    if session.as_json:
        session.document({"items": found, "next": None})
    elif found:
        session.table(groups_sheet(found))
    else:
        session.text("no groups yet: farshore group create PATH")


def groups_sheet(items: Sequence[Mapping[str, Any]]) -> Sheet:
    sheet = Sheet(columns=[*left("group"), *right("nodes", "online"), *left("by", "description")])
    for item in items:
        sheet.add(
            clean(item["path"]),
            count(item["nodes"]),
            count(item["online"]),
            clean(item.get("created_by") or NOTHING),
            clean(item.get("description") or NOTHING),
        )
    return sheet


async def show(session: Session, path: Path) -> None:
    """One group: its nodes and the groups in it."""
    from farshore_center.cli.client import place

    async with session.connect() as client:
        found = await client.get(f"/groups/{place(path)}")
    if session.as_json:
        session.document(found)
        return
    sheet = Sheet(columns=[*left("what"), *left("value")])
    sheet.add("path", clean(found["path"]))
    sheet.add("description", clean(found.get("description") or NOTHING))
    sheet.add("nodes", f"{count(found['nodes'])}, {count(found['online'])} online")
    sheet.add("groups", ", ".join(clean(each) for each in found["groups"]) or NOTHING)
    sheet.add("created", f"{clean(found['created_at'])} by {clean(found['created_by'])}")
    session.table(sheet)


async def create(
    session: Session,
    path: Path,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")] = None,
    parents: Parents = False,
) -> None:
    """Make a group."""
    from farshore_center.cli.client import place

    async with session.connect() as client:
        made = await client.change(
            "PUT",
            f"/groups/{place(path)}",
            {"description": description or ""},
            params={"parents": True if parents else None},
            headers={"If-None-Match": "*"},
        )
    _told(session, made, f"{clean(made['path'])} is made")


async def describe(
    session: Session,
    path: Path,
    description: Annotated[str, typer.Argument(metavar="TEXT", help="What it is for.")],
) -> None:
    """Say what a group is for, in place of what was said before."""
    from farshore_center.cli.client import place

    async with session.connect() as client:
        changed = await client.change(
            "PUT",
            f"/groups/{place(path)}",
            {"description": description},
            headers={"If-Match": "*"},
        )
    _told(session, changed, f"{clean(changed['path'])}: {clean(changed['description'])}")


async def move(
    session: Session,
    path: Path,
    to: Annotated[str, typer.Argument(metavar="TO", help="Its new path, a free one.")],
    parents: Parents = False,
) -> None:
    """Move a group with everything in it, nodes and configuration."""
    from farshore_center.cli.client import place

    async with session.connect() as client:
        params = {"parents": True if parents else None}
        moved = await client.post(f"/groups/{place(path)}/move", {"to": to}, params)
    nodes = counted(moved["moved_nodes"], "node")
    _told(session, moved, f"{clean(path)} is {clean(moved['path'])} now, with {nodes}")


async def delete(session: Session, path: Path) -> None:
    """Delete a group that holds neither nodes nor groups."""
    from farshore_center.cli.client import place

    async with session.connect() as client:
        await client.change("DELETE", f"/groups/{place(path)}")
    _told(session, {"path": path, "deleted": True}, f"{clean(path)} is deleted")


def _told(session: Session, document: Mapping[str, Any], text: str) -> None:
    if session.as_json:
        session.document(document)
    else:
        session.text(text)
