"""``farshore node drain`` and ``undrain``: a node gives its tasks away, and takes some again."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from farshore_center.cli.cells import clean, counted
from farshore_center.cli.config_layer import Author, who
from farshore_center.cli.errors import DONE
from farshore_center.cli.session import Session, command

if TYPE_CHECKING:
    from farshore_center.cli.client import CenterClient

Node = Annotated[str, typer.Argument(metavar="NODE", help="The node's name.")]


def register(inner: typer.Typer) -> None:
    command(inner, "drain")(drain)
    command(inner, "undrain")(undrain)


async def drain(
    session: Session,
    node: Node,
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION", help="After so long, end also what has not moved by itself."
        ),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Follow it until nothing runs there, or the deadline passes."),
    ] = False,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Why.")] = None,
    author: Author = None,
) -> int:
    """Give a node no new work, and move what it has: farshore node drain pi-1 --deadline 10m"""
    from farshore_center.cli.client import segment
    from farshore_center.cli.job_input import seconds

    body: dict[str, Any] = {"reason": message or ""}
    if deadline is not None:
        body["deadline_s"] = seconds("--deadline", deadline)
    async with session.connect() as client:
        found = await client.post(
            f"/nodes/{segment(node)}/drain", body, headers={"X-Farshore-Author": who(author)}
        )
        if wait:
            return await _followed(session, client, node, found)
    if session.as_json:
        session.document(found)
        return DONE
    session.text(drain_sentence(found))
    return DONE


async def _followed(
    session: Session, client: "CenterClient", node: str, found: dict[str, Any]
) -> int:
    from farshore_center.cli.drain_watch import end_text, follow

    if not session.as_json and found.get("instances"):
        session.text(drain_sentence(found))
    last, code = await follow(session, client, node)
    if session.as_json:
        session.document(dict(last))
    else:
        session.text(end_text(last))
    return code


async def undrain(session: Session, node: Node, author: Author = None) -> int:
    """Let a node take work again."""
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.post(
            f"/nodes/{segment(node)}/undrain", headers={"X-Farshore-Author": who(author)}
        )
    if session.as_json:
        session.document(found)
    else:
        session.text(f"{clean(found['node'])} takes work again")
    return DONE


def drain_sentence(found: dict[str, Any]) -> str:
    """What is still there, and until when."""
    left = found.get("instances") or 0
    until = f", by {clean(found['deadline'])} at the latest" if found.get("deadline") else ""
    name = clean(found["node"])
    if not left:
        return f"{name} is drained: no task is on it"
    return f"{name} takes nothing new; {counted(left, 'instance')} to move{until}"
