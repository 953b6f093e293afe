"""What a node is told about its streams: what it need not keep, and what to send again. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from farshore_protocol.codec import encode
from farshore_protocol.link import Message
from farshore_protocol.messages import CenterMark
from farshore_protocol.stream import RESTORED, Book, StreamAck
from farshore_protocol.topics import Down

from farshore_center.ingest.engine import Key, Missing


def acknowledgements(
    books: Mapping[Key, Book],
    keys: Iterable[Key],
    mark: CenterMark | None = None,
    *,
    greeted: AbstractSet[Key] = frozenset(),
    missing: Mapping[str, Sequence[Missing]] | None = None,
) -> list[Message]:
    """One message a node; a second one where two epochs of a stream are to be answered.

    Each says once how far the center's database has come. ``greeted``: streams of a birth, which
    are told how far the center knows them; ``missing``: what a restored center lacks.
    """
    asked = {
        (node, each.stream, each.epoch): tuple(each.ranges)
        for node, lacks in (missing or {}).items()
        for each in lacks
    }
    found: dict[str, list[dict[str, StreamAck]]] = {}
    for key in keys:
        node, stream, epoch = key
        word = StreamAck(
            epoch=epoch,
            ranges=books[key].acknowledgement(),
            head=books[key].head if key in greeted else None,
        )
        if asked.get(key):
            word = replace(word, resend=asked[key], because=RESTORED)
        messages = found.setdefault(node, [{}])
        if stream in messages[-1]:
            messages.append({})
        if not messages[-1]:
            word = replace(word, center=mark)
        messages[-1][stream] = word
    return [_message(node, ack) for node, acks in found.items() for ack in acks]


def resend(key: Key, ranges: Sequence[tuple[int, int]], lost_head: int = 0) -> list[Message]:
    """Asks a node for what is missing of a stream; what is missing up to ``lost_head`` may have
    been acknowledged before the center was restored."""
    node, stream, epoch = key
    before = [(first, min(last, lost_head)) for first, last in ranges if first <= lost_head]
    after = [(max(first, lost_head + 1), last) for first, last in ranges if last > lost_head]
    return [
        _message(node, {stream: StreamAck(epoch=epoch, resend=tuple(part), because=because)})
        for part, because in ((before, RESTORED), (after, None))
        if part
    ]


def _message(node: str, ack: dict[str, StreamAck]) -> Message:
    return Message(topic=Down(node=node, kind="ack").build(), payload=_compact(ack))


def _compact(ack: dict[str, StreamAck]) -> bytes:
    """Without the rare fields that say nothing: these are the most frequent messages on a thin link."""
    return encode(
        {
            stream: {"epoch": word.epoch, "ranges": word.ranges, "resend": word.resend}
            | {
                name: value
                for name, value in (
                    ("because", word.because),
                    ("head", word.head),
                    ("center", word.center),
                )
                if value is not None
            }
            for stream, word in ack.items()
        }
    )
