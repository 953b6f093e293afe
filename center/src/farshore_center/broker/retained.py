"""Retained messages: the newest of each topic, found by filter, within a bound.

Pure. A trie over the topics' levels, so that a subscription costs what it matches. Nothing is
kept across a restart: retained messages are hints, the source of truth is the database.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from farshore_center.broker.model import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    topic: str
    payload: bytes
    qos: int
    client: Client | None = None


@dataclass(slots=True)
class _Level:
    children: dict[str, "_Level"] = field(default_factory=dict)
    message: Retained | None = None


class RetainedStore:
    """A bounded set of retained messages."""

    def __init__(self, *, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._root = _Level()
        self._by_topic: dict[str, Retained] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_topic)

    def get(self, topic: str) -> Retained | None:
        return self._by_topic.get(topic)

    def put(self, message: Retained) -> bool:
        """Keep ``message`` as its topic's newest; an empty payload clears the topic.

        False: there is no room. The topic's older message, which is no longer true, is dropped.
        """
        self._discard(message.topic)
        if not message.payload:
            return True
        size = _size(message)
        if len(self._by_topic) >= self._max_messages or self._bytes + size > self._max_bytes:
            return False
        level = self._root
        for name in message.topic.split("/"):
            level = level.children.setdefault(name, _Level())
        level.message = message
        self._by_topic[message.topic] = message
        self._bytes += size
        return True

    def match(self, topic_filter: str) -> Iterator[Retained]:
        """Every retained message whose topic matches."""
        names = topic_filter.split("/")
        levels = [(self._root, 0)]
        while levels:
            level, depth = levels.pop()
            if depth == len(names):
                if level.message is not None:
                    yield level.message
                continue
            name = names[depth]
            if name == "#":
                yield from _below(level)
            elif name == "+":
                levels.extend((child, depth + 1) for child in level.children.values())
            elif name in level.children:
                levels.append((level.children[name], depth + 1))

    def _discard(self, topic: str) -> None:
        message = self._by_topic.pop(topic, None)
        if message is None:
            return
        self._bytes -= _size(message)
        path = [self._root]
        names = topic.split("/")
        for name in names:
            path.append(path[-1].children[name])
        path[-1].message = None
        for parent, name in zip(reversed(path[:-1]), reversed(names), strict=True):
            child = parent.children[name]
            if child.children or child.message is not None:
                break
            del parent.children[name]


def _below(level: _Level) -> Iterator[Retained]:
    """The level itself ('a/#' matches 'a') and all below it."""
    levels = [level]
    while levels:
        at = levels.pop()
        if at.message is not None:
            yield at.message
        levels.extend(at.children.values())


def _size(message: Retained) -> int:
    return len(message.topic) + len(message.payload)
