"""``farshore overlay …``: saved selectors that cut across the tree of groups."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import NOTHING, clean, count
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import Sheet, left, right, state

Name = Annotated[str, typer.Argument(metavar="NAME", help="The overlay's name.")]


def register(app: typer.Typer) -> None:
    inner = typer.Typer(no_args_is_help=True, help="Overlays: saved selectors with a priority.")
    command(inner, "list")(list_overlays)
    command(inner, "show")(show)
    command(inner, "set")(put)
    command(inner, "delete")(delete)
    app.add_typer(inner, name="overlay")


async def list_overlays(session: Session) -> None:
    """Every overlay, by ascending priority: a later one wins."""
    async with session.connect() as client:
        found = await client.items("/overlays")
    if session.as_json:
        session.document({"items": found, "next": None})
    elif found:
        session.table(overlays_sheet(found))
    else:
        session.text("no overlays yet: farshore overlay set NAME --selector … --priority N")


def overlays_sheet(items: Sequence[Mapping[str, Any]]) -> Sheet:
    sheet = Sheet(columns=[*right("priority"), *left("name", "selector", "description")])
    for item in items:
        sheet.add(
            count(item["priority"]),
            clean(item["name"]),
            clean(item["selector"]),
            clean(item.get("description") or NOTHING),
        )
    return sheet


async def show(session: Session, name: Name) -> None:
    """One overlay, and the nodes that it means now."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.get(f"/overlays/{segment(name)}")
        nodes = await client.items(f"/overlays/{segment(name)}/nodes")
    if session.as_json:
        session.document({**found, "members": [node["name"] for node in nodes]})
        return
    sheet = Sheet(columns=[*left("what"), *left("value")])
    for what in ("name", "selector", "description"):
        sheet.add(what, clean(found.get(what) or NOTHING))
    for what in ("priority", "revision", "nodes"):
        sheet.add(what, count(found[what]))
    session.table(sheet)
    if nodes:
        session.text("")
        members = Sheet(columns=[*left("node", "group", "state")])
        for node in nodes:
            members.add(
                clean(node["name"]), clean(node["group"] or NOTHING), state(clean(node["state"]))
            )
        session.table(members)


async def put(
    session: Session,
    name: Name,
    selector: Annotated[str, typer.Option(metavar="SELECTOR", help="The nodes that it means.")],
    priority: Annotated[
        int, typer.Option(min=0, help="Its own: no two have the same, the higher one wins.")
    ],
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")] = None,
) -> None:
    """Make an overlay, or replace what it says."""
    from farshore_center.cli.client import segment

    body = {"selector": selector, "priority": priority, "description": description or ""}
    async with session.connect() as client:
        made = await client.change("PUT", f"/overlays/{segment(name)}", body)
    if session.as_json:
        session.document(made)
    else:
        session.text(f"{clean(made['name'])}: {clean(made['selector'])}")


async def delete(session: Session, name: Name) -> None:
    """Delete an overlay."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        await client.change("DELETE", f"/overlays/{segment(name)}")
    if session.as_json:
        session.document({"name": name, "deleted": True})
    else:
        session.text(f"{clean(name)} is deleted")
