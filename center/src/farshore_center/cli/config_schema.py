"""``farshore config schema``: the JSON Schemas that configurations must fulfil."""

from typing import Annotated

import typer

from farshore_center.cli.cells import clean
from farshore_center.cli.config_layer import Author, File, Message, read_file, who
from farshore_center.cli.config_view import schemas_sheet
from farshore_center.cli.errors import BadUsageError
from farshore_center.cli.session import Session, command

Document = Annotated[
    str, typer.Argument(metavar="DOCUMENT", help="agent, files, …, or app/NAME for one of yours.")
]


def register(config: typer.Typer) -> None:
    schema = typer.Typer(name="schema", no_args_is_help=True, help="The JSON Schemas of documents.")
    command(schema, "set")(set_schema)
    command(schema, "list")(list_schemas)
    command(schema, "show")(show)
    command(schema, "delete")(delete)
    config.add_typer(schema)


def _path(document: str) -> str:
    """The address of a document's schema; what can be no document is bad usage."""
    from farshore_protocol.names import is_name

    if not is_name(document.removeprefix("app/")):
        raise BadUsageError(f"{clean(document)!r} is no document: expected NAME or app/NAME")
    return f"/config/schemas/{document}"


async def set_schema(
    session: Session,
    document: Document,
    file: File,
    message: Message = None,
    author: Author = None,
) -> None:
    """Store a JSON Schema (2020-12) for a document, if every node fulfils it."""
    body = {"definition": read_file(file), "message": message or "", "author": who(author)}
    async with session.connect() as client:
        made = await client.change("PUT", _path(document), body)
    if session.as_json:
        session.document(made)
    else:
        session.text(f"schema of {clean(made['document'])}: revision {made['rev']}")


async def list_schemas(session: Session) -> None:
    """The documents that have a schema."""
    async with session.connect() as client:
        found = await client.get("/config/schemas")
        now_ms = client.now_ms()
    if session.as_json:
        session.document(found)
    else:
        session.table(schemas_sheet(found["items"], now_ms))


async def show(session: Session, document: Document) -> None:
    """A document's schema, as JSON."""
    async with session.connect() as client:
        found = await client.get(_path(document))
    session.document(found if session.as_json else found["definition"])


async def delete(session: Session, document: Document, author: Author = None) -> None:
    """End a stored schema; the built-in ones stay."""
    async with session.connect() as client:
        headers = {"X-Farshore-Author": who(author)}
        await client.change("DELETE", _path(document), headers=headers)
    if session.as_json:
        session.document({"document": document, "deleted": True})
    else:
        session.text(f"the stored schema of {clean(document)} is deleted")
