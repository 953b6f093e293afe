"""What comes of live logs goes to whoever listens, bounded: a slow listener loses lines, counted, and
nobody else does. No I/O here."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from farshore_protocol.codec import decode
from farshore_protocol.messages import LogLines
from farshore_protocol.topics import Up

WAITING_BYTES = 512 * 1024
"""What may wait for one listener; of more the oldest is dropped."""


class Listener:
    """One that listens to one log of one node. ``lost``: messages that never came here."""

    def __init__(self) -> None:
        self._words: deque[tuple[LogLines, int]] = deque()
        self._bytes = 0
        self._skipped = 0
        self._news = asyncio.Event()
        self._tail: str | None = None
        self._seq = 0
        self.lost = 0
        self.closed = False

    def begin(self, tail: str, seq: int) -> None:
        """What it has already: up to this message of this tail."""
        kept = [(w, size) for w, size in self._words if w.tail != tail or w.seq > seq]
        self._words = deque(kept)
        self._bytes = sum(size for _, size in kept)
        self._tail, self._seq = tail, seq

    def take(self, word: LogLines, size: int) -> None:
        self._words.append((word, size))
        self._bytes += size
        while self._bytes > WAITING_BYTES and len(self._words) > 1:
            dropped, less = self._words.popleft()
            self._bytes -= less
            self._skipped += len(dropped.lines) + dropped.dropped
            if dropped.tail == self._tail:
                self._seq = max(self._seq, dropped.seq)
        self._news.set()

    def close(self) -> None:
        self.closed = True
        self._news.set()

    async def next(self, within_s: float) -> LogLines | None:
        """The next message, its ``dropped`` with what was dropped here; None: none came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not (self._words or self.closed):
                    self._news.clear()
                    await self._news.wait()
        if not self._words:
            return None
        word, size = self._words.popleft()
        self._bytes -= size
        skipped, self._skipped = self._skipped, 0
        if word.tail == self._tail:
            self.lost += max(0, word.seq - self._seq - 1)
            self._seq = max(self._seq, word.seq)
        elif word.tail is not None:
            self._tail, self._seq = word.tail, word.seq
        return replace(word, dropped=word.dropped + skipped)


class Relay:
    def __init__(self) -> None:
        self._listeners: dict[tuple[str, str], set[Listener]] = {}
        self.closed = False

    def __len__(self) -> int:
        """How many listen."""
        return sum(map(len, self._listeners.values()))

    @contextmanager
    def listen(self, node: str, name: str) -> Iterator[Listener]:
        listener = Listener()
        here = self._listeners.setdefault((node, name), set())
        here.add(listener)
        try:
            yield listener
        finally:
            here.discard(listener)
            if not here:
                self._listeners.pop((node, name), None)

    def take(self, up: Up, payload: bytes) -> None:
        """A message on ``log/<name>``. Raises MessageError for one that somebody listens to and that
        can't be read."""
        listeners = self._listeners.get((up.node, up.name or ""))
        if listeners:
            word = decode(LogLines, payload)
            for listener in listeners:
                listener.take(word, len(payload))

    def close(self) -> None:
        self.closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.close()
