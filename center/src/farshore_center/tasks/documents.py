"""How large the document of each node is, ``desired/tasks``, and whether one more grant still travels. Pure.

What is small in itself needs no more than sums. Only where the text is larger than a message may be, it is
packed as it would be sent.
"""

import zlib
from collections.abc import Mapping

from farshore_protocol.codec import MAX_MESSAGE_BYTES, encode
from farshore_protocol.tasks import Grant, TaskSpec
from farshore_protocol.tasks.messages import MAX_TASKS_BYTES

FRAME_BYTES = 512
"""Around the grants, and what may differ between a grant as it is reckoned here and as it is sent."""

_LONGEST = 2**53 - 1
_HALF = MAX_MESSAGE_BYTES // 2


def text_of(task: str, spec: TaskSpec) -> bytes:
    """A grant of the task as it stands in a document, with the longest numbers."""
    grant = Grant(
        task=task, instance=9999, attempt=9999, epoch=_LONGEST, spec=spec, reason="preempted"
    )
    return encode(grant)


def packed_bytes(*texts: bytes) -> int:
    """So large is a document with these grants when it travels."""
    whole = b",".join(texts)
    return min(len(zlib.compress(whole)), len(whole)) + FRAME_BYTES


class Documents:
    """The grants of every node, by the label of each."""

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, bytes]] = {}
        self._bytes: dict[str, int] = {}
        self._large: set[str] = set()

    def add(self, node: str, label: str, text: bytes) -> None:
        held = self._texts.setdefault(node, {})
        if label not in held:
            held[label] = text
            self._size(node, len(text) + 1)

    def remove(self, node: str, label: str) -> None:
        text = self._texts.get(node, {}).pop(label, None)
        if text is not None:
            self._size(node, -len(text) - 1)

    def _size(self, node: str, change: int) -> None:
        self._bytes[node] = size = self._bytes.get(node, FRAME_BYTES) + change
        if size > _HALF:
            self._large.add(node)
        else:
            self._large.discard(node)

    def drop(self, node: str) -> None:
        self._texts.pop(node, None)
        self._bytes.pop(node, None)
        self._large.discard(node)

    def full_for(self, text: bytes) -> frozenset[str]:
        """The nodes that could not be told of one more such grant."""
        surely = MAX_MESSAGE_BYTES - len(text) - 1
        may_be = self._large if surely >= _HALF else self._bytes
        return frozenset(
            node
            for node in may_be
            if (size := self._bytes[node]) > surely
            and not self._travels(self._texts[node], size, text)
        )

    @staticmethod
    def _travels(held: Mapping[str, bytes], size: int, text: bytes) -> bool:
        if size + len(text) + 1 > MAX_TASKS_BYTES:
            return False
        return packed_bytes(*held.values(), text) <= MAX_MESSAGE_BYTES
