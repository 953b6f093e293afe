"""A node's books judged: what the center accepted, what was declared lost, what is still due. Pure.

The center keeps one book per stream and epoch. A record is accounted for when it was accepted or
declared lost; the difference to the head, the highest number that the node has given out, is in
flight: on its way, waiting on the node, or missing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from farshore_center.cli.cells import clean, count, ranges

COMPLETE = "complete: every record up to the head is accepted or declared lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One stream in one epoch."""

    node: str
    stream: str
    epoch: str
    accepted: int
    duplicates: int
    head: int
    lost: int
    holes: tuple[tuple[int, int], ...]
    reasons: tuple[str, ...]
    current: bool

    @property
    def in_flight(self) -> int:
        return max(0, self.head - self.accepted - self.lost)

    @property
    def complete(self) -> bool:
        return self.in_flight == 0 and not self.holes


def read_book(item: Mapping[str, Any], node: str = "") -> Book:
    """A book from either list of the API: with every loss, or with their sum alone."""
    losses = item.get("lost") or []
    lost = item.get("lost_records")
    if lost is None:
        lost = sum(loss["range"][1] - loss["range"][0] + 1 for loss in losses)
    return Book(
        node=item.get("node") or node,
        stream=item["stream"],
        epoch=item["epoch"],
        accepted=item["accepted"],
        duplicates=item["duplicates"],
        head=item["head"],
        lost=lost,
        holes=tuple((a, b) for a, b in item.get("holes") or ()),
        reasons=_reasons(losses),
        current=item.get("current", True),
    )


def _reasons(losses: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """``12 quota`` for each reason, in the order of their first loss."""
    sums: dict[str, int] = {}
    for loss in losses:
        first, last = loss["range"]
        reason = clean(str(loss.get("reason") or "no reason given"))
        sums[reason] = sums.get(reason, 0) + last - first + 1
    return tuple(f"{number:,} {reason}" for reason, number in sums.items())


def verdict(books: Iterable[Book]) -> str:
    """One plain sentence about all of the books."""
    books = list(books)
    if not books:
        return "no records yet"
    open_books = [book for book in books if not book.complete]
    if not open_books:
        return COMPLETE
    return "not complete: " + "; ".join(_open(book) for book in open_books)


def _open(book: Book) -> str:
    name = f"{clean(book.stream)} (epoch {clean(book.epoch)})"
    holes = f"holes {ranges([list(hole) for hole in book.holes])}" if book.holes else ""
    if not book.in_flight:
        return f"{name} has {holes}"
    text = f"{name} has {count(book.in_flight)} in flight up to {count(book.head)}"
    return f"{text}, {holes}" if holes else text


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeBooks:
    """All books of one node, added up."""

    node: str
    books: int
    accepted: int
    duplicates: int
    in_flight: int
    holes: int
    lost: int
    complete: bool


def by_node(books: Iterable[Book]) -> list[NodeBooks]:
    """One line per node, sorted by name."""
    nodes: dict[str, list[Book]] = {}
    for book in books:
        nodes.setdefault(book.node, []).append(book)
    return [
        NodeBooks(
            node=node,
            books=len(own),
            accepted=sum(book.accepted for book in own),
            duplicates=sum(book.duplicates for book in own),
            in_flight=sum(book.in_flight for book in own),
            holes=sum(len(book.holes) for book in own),
            lost=sum(book.lost for book in own),
            complete=all(book.complete for book in own),
        )
        for node, own in sorted(nodes.items())
    ]
