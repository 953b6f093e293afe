"""``farshore streams``: the books, per node or for the whole fleet."""

from collections.abc import Sequence
from typing import Annotated

import typer

from farshore_center.cli.books import COMPLETE, Book, NodeBooks, by_node, read_book, verdict
from farshore_center.cli.cells import NOTHING, clean, count, counted, ranges
from farshore_center.cli.session import Session, command
from farshore_center.cli.tables import Cell, Sheet, left, right, whole

FEW_HOLES = 4


def register(app: typer.Typer) -> None:
    command(app, "streams")(streams)


async def streams(
    session: Session,
    name: Annotated[str | None, typer.Argument(help="A node; without one, every node.")] = None,
) -> None:
    """The books: what was accepted, what was declared lost, what is still due."""
    if name is None:
        await _fleet(session)
        return
    from farshore_center.cli.client import segment

    async with session.connect() as client:
        found = await client.get(f"/nodes/{segment(name)}/streams")
    if session.as_json:
        session.document(found)
        return
    books = [read_book(item, name) for item in found["items"]]
    if books:
        session.table(books_sheet(books))
    _conclude(session, verdict(books), all(book.complete for book in books))


async def _fleet(session: Session) -> None:
    async with session.connect() as client:
        found = await client.items("/streams")
    if session.as_json:
        session.document({"items": found, "next": None})
        return
    nodes = by_node(read_book(item) for item in found)
    if nodes:
        session.table(fleet_sheet(nodes))
    open_nodes = [node for node in nodes if not node.complete]
    if not nodes:
        text = "no records yet"
    elif open_nodes:
        due = sum(node.in_flight for node in open_nodes)
        text = (
            f"not complete: {counted(due, 'record')} in flight "
            f"on {counted(len(open_nodes), 'node')}"
        )
    else:
        text = COMPLETE
    _conclude(session, text, not open_nodes)


def _conclude(session: Session, text: str, complete: bool) -> None:
    session.styled(text, "green" if complete else "yellow")


def books_sheet(books: Sequence[Book]) -> Sheet:
    sheet = Sheet(
        columns=[
            *whole("stream"),
            *left("epoch"),
            *right("accepted", "duplicates", "head", "in flight"),
            *left("holes"),
            *right("lost"),
            *left("reasons"),
        ]
    )
    for book in books:
        sheet.add(
            clean(book.stream),
            clean(book.epoch) if book.current else f"{clean(book.epoch)} (past)",
            count(book.accepted),
            count(book.duplicates),
            count(book.head),
            _due(book.in_flight),
            ranges([list(hole) for hole in book.holes], FEW_HOLES),
            Cell(count(book.lost), "yellow" if book.lost else ""),
            ", ".join(book.reasons) or NOTHING,
        )
    return sheet


def fleet_sheet(nodes: Sequence[NodeBooks]) -> Sheet:
    sheet = Sheet(
        columns=[
            *left("node"),
            *right("books", "accepted", "duplicates", "in flight", "holes", "lost"),
            *left("complete"),
        ]
    )
    for node in nodes:
        sheet.add(
            clean(node.node),
            count(node.books),
            count(node.accepted),
            count(node.duplicates),
            _due(node.in_flight),
            count(node.holes),
            Cell(count(node.lost), "yellow" if node.lost else ""),
            Cell("yes", "green") if node.complete else Cell("no", "yellow"),
        )
    return sheet


def _due(number: int) -> Cell:
    return Cell(count(number), "yellow" if number else "")
