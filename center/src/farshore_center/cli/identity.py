"""``farshore center``: who the center is, whether it was restored; and going on after that."""

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import age, scalar
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import Sheet, left, right


class Action(Enum):
    RESUME = "resume"


def register(app: typer.Typer) -> None:
    command(app, "center")(center)


async def center(
    session: Session,
    action: Annotated[
        Action | None, typer.Argument(help="resume: held commands go on after a restore.")
    ] = None,
) -> None:
    """The center's database, whether it was restored, and the nodes that are ahead of it."""
    async with session.connect() as client:
        if action is Action.RESUME:
            document = await client.post("/center/resume")
        else:
            document = await client.get("/center")
        now_ms = client.now_ms()
    if session.as_json:
        session.document(document)
        return
    for line in lines(document, now_ms):
        session.text(line)
    ahead = document.get("nodes_ahead") or []
    if ahead:
        session.table(ahead_sheet(ahead, now_ms))


def lines(document: Mapping[str, Any], now_ms: int) -> list[str]:
    since = age(document.get("since"), now_ms)
    found = [
        f"state       {scalar(document.get('state'))} for {since}",
        f"database    {scalar(document.get('database'))}",
        f"epoch       {scalar(document.get('epoch'))}",
        f"generation  {scalar(document.get('generation'))}",
    ]
    if "released_commands" in document:
        found.append(f"released    {scalar(document['released_commands'])} commands")
    held = document.get("held_commands")
    if held:
        found.append(f"held        {scalar(held)} commands wait: farshore center resume")
    for former in document.get("former") or []:
        found.append(f"cut off     {scalar(former.get('epoch'))} at {scalar(former['generation'])}")
    return found


def ahead_sheet(items: list[Mapping[str, Any]], now_ms: int) -> Sheet:
    sheet = Sheet(
        columns=[
            *left("node", "epoch"),
            *right("generation", "ago"),
            *left("missing when it came"),
        ]
    )
    for item in items:
        missing = [
            f"{each['stream']} {first}..{last}"
            for each in item.get("streams") or []
            for first, last in each["ranges"]
        ]
        sheet.add(
            scalar(item.get("node")),
            scalar(item.get("epoch")),
            scalar(item.get("generation")),
            age(item.get("at"), now_ms),
            scalar(", ".join(missing) or None),
        )
    return sheet
