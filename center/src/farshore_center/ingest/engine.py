"""Which of the arrived records are new, what the books become, what is to be acknowledged. Pure.

It works on the books that it is given and changes them; when the commit fails, the caller throws
them away and loads them again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from farshore_protocol.errors import MessageError
from farshore_protocol.messages import Event, StreamHead
from farshore_protocol.stream import Book
from farshore_protocol.stream.model import MAX_RANGES

from farshore_center.ingest.arrival import Arrival, loss_word

Key = tuple[str, str, str]
"""(node, stream, epoch)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """A birth: where the node's streams stand. It is answered with what the center holds.

    ``ahead``: the node has obeyed acknowledgements that a restored center does not know of.
    ``new_boot``: it is the first birth of that boot; a later one may be a late copy.
    """

    node: str
    heads: Mapping[str, StreamHead]
    ahead: bool = False
    new_boot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LossLine:
    key: Key
    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What a restored center lacks of a stream whose node has come to ``head`` and keeps ``kept``."""

    stream: str
    epoch: str
    head: int
    ranges: Sequence[tuple[int, int]]
    kept: int


@dataclass(slots=True, kw_only=True)
class Decision:
    """``fresh``: accepted for the first time; ``faulty``: to be put on the list of the rejected.

    ``greeted``: to be told how far the center knows a stream; ``missing``: what nodes that are
    ahead are asked for at once; ``behind``: streams of nodes that have counted less far than the
    center knows, with the head that they said.
    """

    fresh: list[Arrival] = field(default_factory=list)
    faulty: list[tuple[Arrival, MessageError]] = field(default_factory=list)
    lost: list[LossLine] = field(default_factory=list)
    changed: set[Key] = field(default_factory=set)
    acknowledge: dict[Key, None] = field(default_factory=dict)
    duplicates: int = 0
    greeted: set[Key] = field(default_factory=set)
    missing: dict[str, list[Missing]] = field(default_factory=dict)
    behind: dict[Key, tuple[int, int]] = field(default_factory=dict)


def decide(books: dict[Key, Book], items: Iterable[Arrival | Greeting]) -> Decision:
    decision = Decision()
    for item in items:
        if isinstance(item, Greeting):
            _greet(books, item, decision)
        else:
            _arrive(books, item, decision)
    return decision


def _greet(books: dict[Key, Book], greeting: Greeting, decision: Decision) -> None:
    for stream, head in greeting.heads.items():
        key = (greeting.node, stream, head.epoch)
        book = books.get(key)
        if book is None:
            book = books[key] = Book()
            decision.changed.add(key)
        if greeting.new_boot and head.head < book.head:
            decision.behind[key] = head.head, book.head
        if head.head > book.head:
            book.announce(head.head)
            decision.changed.add(key)
        decision.acknowledge[key] = None
        decision.greeted.add(key)
        if greeting.ahead:
            decision.missing.setdefault(greeting.node, []).append(
                Missing(
                    stream=stream,
                    epoch=head.epoch,
                    head=head.head,
                    ranges=book.holes()[:MAX_RANGES],
                    kept=head.records,
                )
            )


def _arrive(books: dict[Key, Book], arrival: Arrival, decision: Decision) -> None:
    key = arrival.key
    book = books.setdefault(key, Book())
    decision.changed.add(key)
    decision.acknowledge[key] = None
    seq = arrival.envelope.seq
    if arrival.fault is not None:
        if seq in book.accepted or seq in book.lost:
            book.duplicates += 1
            decision.duplicates += 1
        else:
            _refuse(book, arrival, arrival.fault, decision)
        return
    if not book.accept(seq):
        decision.duplicates += 1
        return
    decision.fresh.append(arrival)
    if arrival.topic.kind == "evt" and arrival.topic.name == "loss":
        _declare(books, arrival, decision)


def _refuse(book: Book, arrival: Arrival, fault: MessageError, decision: Decision) -> None:
    """The center will never store it: the ledger says so, and the node need not keep it."""
    seq = arrival.envelope.seq
    book.declare_lost(seq, seq)
    reason = f"refused by the center: {fault.reason}"
    decision.lost.append(LossLine(key=arrival.key, first=seq, last=seq, reason=reason))
    decision.faulty.append((arrival, fault))


def _declare(books: dict[Key, Book], arrival: Arrival, decision: Decision) -> None:
    if not isinstance(arrival.body, Event):
        return
    try:
        word = loss_word(arrival.body)
    except MessageError as exc:
        decision.faulty.append((arrival, exc))
        return
    key = (arrival.node, word.stream, word.epoch)
    book = books.setdefault(key, Book())
    decision.changed.add(key)
    decision.acknowledge[key] = None
    for first, last in book.declare_lost(*word.range):
        decision.lost.append(LossLine(key=key, first=first, last=last, reason=word.reason))
