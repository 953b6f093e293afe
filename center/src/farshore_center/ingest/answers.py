"""What a node is told about its streams: what it need not keep, and what to send again. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.stream import Book, StreamAck
from farshore_protocol.topics import Down

from farshore_center.ingest.engine import Key


def acknowledgements(books: Mapping[Key, Book], keys: Iterable[Key]) -> list[Message]:
    """One message a node; a second one where two epochs of a stream are to be answered."""
    found: dict[str, list[dict[str, StreamAck]]] = {}
    for key in keys:
        node, stream, epoch = key
        word = StreamAck(epoch=epoch, ranges=books[key].acknowledgement())
        messages = found.setdefault(node, [{}])
        if stream in messages[-1]:
            messages.append({})
        messages[-1][stream] = word
    return [_message(node, ack) for node, acks in found.items() for ack in acks]


def resend(key: Key, ranges: Sequence[tuple[int, int]]) -> Message:
    """Asks a node for what is missing of a stream."""
    node, stream, epoch = key
    return _message(node, {stream: StreamAck(epoch=epoch, resend=tuple(ranges))})


def _message(node: str, ack: dict[str, StreamAck]) -> Message:
    return Message(topic=Down(node=node, kind="ack").build(), payload=encode(ack))
