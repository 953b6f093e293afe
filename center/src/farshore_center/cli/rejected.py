"""``farshore rejected``: messages that the center did not take, and why."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from farshore_center.cli.cells import age, quantity, scalar
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import Sheet, left, right


def register(app: typer.Typer) -> None:
    command(app, "rejected")(rejected)


async def rejected(
    session: Session,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 50,
) -> None:
    """The last messages that were rejected, with the reasons."""
    async with session.connect() as client:
        found = await client.items("/rejected", at_most=limit)
        now_ms = client.now_ms()
    if session.as_json:
        session.document({"items": found, "next": None})
    elif found:
        session.table(rejected_sheet(found, now_ms))
    else:
        session.text("nothing was rejected")


def rejected_sheet(items: Sequence[Mapping[str, Any]], now_ms: int) -> Sheet:
    sheet = Sheet(
        columns=[
            *right("ago"),
            *left("node", "client"),
            *left("topic"),
            *left("reason"),
            *right("size"),
            *left("detail", "begins"),
        ]
    )
    for item in items:
        sheet.add(
            age(item.get("at"), now_ms),
            scalar(item.get("node")),
            scalar(item.get("client_id")),
            scalar(item.get("topic")),
            scalar(item.get("reason")),
            quantity(item.get("payload_bytes"), "B"),
            scalar(item.get("detail")),
            scalar(item.get("payload_start")),
        )
    return sheet
