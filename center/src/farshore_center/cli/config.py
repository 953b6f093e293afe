"""``farshore config``: what nodes should run, why, and what a change would do."""

from typing import Annotated, Any

import typer

from farshore_center.cli import config_layer as layer_of
from farshore_center.cli import config_schema
from farshore_center.cli.cells import clean
from farshore_center.cli.config_change import preview_layer, read_layer, say_made, tell_preview
from farshore_center.cli.config_layer import Author, Defaults, File, Group, Message, Node, Overlay
from farshore_center.cli.config_view import (
    change_line,
    explain_sheet,
    revisions_sheet,
    standing,
    status_sheet,
    status_tally,
)
from farshore_center.cli.errors import DONE, FAILED, BadUsageError
from farshore_center.cli.session import Session, command

NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The node's name.")]


def register(app: typer.Typer) -> None:
    from farshore_center.cli import config_edit

    config = typer.Typer(
        name="config", no_args_is_help=True, help="What nodes should run, why, and what changes."
    )
    for name, work in (
        ("show", show),
        ("explain", explain),
        ("preview", preview),
        ("set", set_layer),
        ("delete", delete),
        ("revisions", revisions),
        ("rollback", rollback),
        ("status", status),
        ("resolve", resolve),
    ):
        command(config, name)(work)
    config_edit.register(config)
    config_schema.register(config)
    app.add_typer(config)


async def show(session: Session, node: NodeName) -> None:
    """What a node should run, as JSON."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.get(f"/nodes/{segment(node)}/config")
    session.document(found if session.as_json else found["config"])


async def explain(session: Session, node: NodeName) -> None:
    """Where each value of a node comes from, and who wrote it."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.get(f"/nodes/{segment(node)}/config", {"explain": "true"})
        now_ms = client.now_ms()
    if session.as_json:
        session.document(found)
        return
    if found["origin"] or found["removed"]:
        session.table(explain_sheet(found))
    else:
        session.text(f"nothing is configured for {clean(found['node'])}")
    for line in standing(found, now_ms):
        session.styled(line, "dim")


async def preview(
    session: Session,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="The layer's new patch; - for stdin.")
    ] = None,
    group: Group = None,
    overlay: Overlay = None,
    node: Node = None,
    defaults: Defaults = False,
    rev: Annotated[
        int | None, typer.Option(min=1, help="In place of a file: back to this revision.")
    ] = None,
    deleted: Annotated[
        bool, typer.Option("--delete", help="In place of a file: without the layer.")
    ] = False,
) -> int:
    """What a change would do, before anything happens. The exit code is 1 if it would be refused."""
    layer = layer_of.chosen(group, overlay, node, defaults)
    if (file is not None) + (rev is not None) + deleted != 1:
        raise BadUsageError("what would change? Give one of FILE, --rev and --delete")
    body: dict[str, Any] = {"layer": layer}
    if file is not None:
        body["patch"] = layer_of.read_file(file)
    elif rev is not None:
        body["rev"] = rev
    else:
        body["delete"] = True
    async with session.connect() as client:
        found = await preview_layer(client, body)
    if session.as_json:
        session.document(found)
    else:
        tell_preview(session, found)
    return DONE if found["valid"] else FAILED


async def set_layer(
    session: Session,
    file: File,
    group: Group = None,
    overlay: Overlay = None,
    node: Node = None,
    defaults: Defaults = False,
    message: Message = None,
    author: Author = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Upon what the layer has, in place of all of it.")
    ] = False,
    if_rev: Annotated[
        int | None,
        typer.Option(min=0, metavar="REV", help="Only if the layer is at this revision; 0: none."),
    ] = None,
) -> None:
    """Set a layer from a file: farshore config set eu.yaml --group eu -m 'shorter batches'"""
    layer = layer_of.chosen(group, overlay, node, defaults)
    patch = layer_of.read_file(file)
    async with session.connect() as client:
        if merge:
            found = await read_layer(client, layer)
            if not isinstance(patch, dict):
                raise BadUsageError("--merge takes an object")
            patch = layer_of.upon(found["patch"], patch)
            if_rev = found["rev"] if if_rev is None else if_rev
        body = {"patch": patch, "message": message or "", "author": layer_of.who(author)}
        headers = {} if if_rev is None else {"If-Match": f'"{if_rev}"'}
        made = await client.change("PUT", layer_of.layer_path(layer), body, headers=headers)
    say_made(session, made)


async def delete(
    session: Session,
    group: Group = None,
    overlay: Overlay = None,
    node: Node = None,
    defaults: Defaults = False,
    message: Message = None,
    author: Author = None,
) -> None:
    """End a layer; its revisions stay."""
    layer = layer_of.chosen(group, overlay, node, defaults)
    headers = {"X-Farshore-Author": layer_of.who(author)}
    async with session.connect() as client:
        path = layer_of.layer_path(layer)
        await client.change("DELETE", path, params={"message": message}, headers=headers)
    if session.as_json:
        session.document({"layer": layer, "deleted": True})
    else:
        session.text(f"{layer} is deleted")


async def revisions(
    session: Session,
    group: Group = None,
    overlay: Overlay = None,
    node: Node = None,
    defaults: Defaults = False,
    rev: Annotated[
        int | None, typer.Option(min=1, help="This one: its patch, and what it changed.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 20,
) -> None:
    """The revisions of a layer, the newest first; or one of them."""
    path = f"{layer_of.layer_path(layer_of.chosen(group, overlay, node, defaults))}/revisions"
    async with session.connect() as client:
        if rev is not None:
            found = await client.get(f"{path}/{rev}")
        else:
            found = {"items": await client.items(path, at_most=limit), "next": None}
        now_ms = client.now_ms()
    if session.as_json:
        session.document(found)
    elif rev is None:
        session.table(revisions_sheet(found["items"], now_ms))
    else:
        session.text(f"{clean(found['layer'])}@{rev}  {clean(found['author'])}  {found['at']}")
        session.text(clean(found["message"]))
        for change in found["changes"]:
            session.styled(*change_line(change))


async def rollback(
    session: Session,
    rev: Annotated[int, typer.Argument(min=1, help="The revision to go back to.")],
    group: Group = None,
    overlay: Overlay = None,
    node: Node = None,
    defaults: Defaults = False,
    message: Message = None,
    author: Author = None,
) -> None:
    """Make a new revision of a layer with the patch of an earlier one."""
    path = layer_of.layer_path(layer_of.chosen(group, overlay, node, defaults))
    body = {"rev": rev, "message": message or "", "author": layer_of.who(author)}
    async with session.connect() as client:
        made = await client.post(f"{path}/rollback", body)
    say_made(session, made)


async def status(
    session: Session,
    state: Annotated[str | None, typer.Option(help="Only nodes in this state.")] = None,
    group: Annotated[
        str | None, typer.Option(metavar="PATH", help="Only this group and the groups in it.")
    ] = None,
) -> None:
    """Every node's configuration: what is desired, what it said, and what is wrong."""
    async with session.connect() as client:
        found = await client.items("/nodes", {"group": group})
        now_ms = client.now_ms()
    if state is not None:
        found = [item for item in found if (item.get("config") or {}).get("state") == state]
    if session.as_json:
        rows = [
            {"name": each["name"], "group": each["group"], "config": each["config"]}
            for each in found
        ]
        session.document({"items": rows, "next": None})
        return
    if found:
        session.table(status_sheet(found, now_ms))
    session.styled(status_tally(found), "dim")


async def resolve(session: Session, node: NodeName) -> None:
    """For a node that is ahead of the center: send it the center's configuration all the same."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.post(f"/nodes/{segment(node)}/config/resolve")
    if session.as_json:
        session.document(found)
    else:
        session.text(f"{clean(node)} is sent revision {found['desired_rev']}")
