"""``farshore label``: set and remove labels of a node, without touching its others."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from farshore_center.cli.cells import clean, pairs
from farshore_center.cli.errors import BadUsageError, RefusedError
from farshore_center.cli.session import Session, command

ATTEMPTS = 3
CHANGED_MEANWHILE = 412


def register(app: typer.Typer) -> None:
    command(app, "label")(label)


async def label(
    session: Session,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The node's name.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[K=V | K-]...", help="Set K to V; remove K. None: only show."),
    ] = None,
) -> None:
    """Set and remove labels of a node: farshore label pi-1 env=prod line-"""
    from farshore_center.cli.client import segment

    wanted = read_words(words or [])
    address = f"/nodes/{segment(node)}"
    async with session.connect() as client:
        for attempt in range(ATTEMPTS):
            found, tag = await client.tagged(address)
            if not wanted:
                break
            headers = {"If-Match": tag} if tag else {}
            try:
                body = {"labels": changed(found["labels"], wanted)}
                found = await client.change("PATCH", address, body, headers=headers)
                break
            except RefusedError as exc:
                # Somebody changed another label: ours still apply to what is there now.
                if exc.status != CHANGED_MEANWHILE or attempt == ATTEMPTS - 1:
                    raise
    if session.as_json:
        session.document(found)
    else:
        session.text(f"{clean(found['name'])}: {pairs(found['labels'])}")


def read_words(words: Sequence[str]) -> dict[str, str | None]:
    """What to set, and with None what to remove."""
    wanted: dict[str, str | None] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            name = word.removesuffix("-")
            if name == word:
                raise BadUsageError(f"{clean(word)!r}: expected K=V to set, K- to remove")
        if not name:
            raise BadUsageError(f"{clean(word)!r}: a label needs a name")
        if name in wanted:
            raise BadUsageError(f"the label {clean(name)} is given twice")
        wanted[name] = value if equals else None
    return wanted


def changed(labels: Mapping[str, str], wanted: Mapping[str, str | None]) -> dict[str, str]:
    merged = {**labels, **wanted}
    return {name: value for name, value in merged.items() if value is not None}
