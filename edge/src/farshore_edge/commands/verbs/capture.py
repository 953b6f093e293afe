"""A program's output on its way into reports: decoded, placed, and cut at the limit."""

import asyncio
import codecs
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from farshore_protocol.commands import Output

CHUNK_BYTES = 12 * 1024
"""Of raw output in one chunk: even if JSON must escape every byte it fits into one report."""


@dataclass(slots=True)
class Budget:
    """What may still be kept of both streams together, in bytes, and what was cut already."""

    left: int
    cut: int = 0

    def take(self, data: bytes) -> bytes:
        kept = data[: self.left]
        self.left -= len(kept)
        self.cut += len(data) - len(kept)
        return kept


@dataclass(slots=True)
class Capture:
    """One stream, decoded as UTF-8 (what is none becomes U+FFFD), its chunks counted in bytes.

    What exceeds the budget is read all the same, and dropped: a program must not hang because
    nobody keeps what it says.
    """

    stream: Literal["stdout", "stderr"]
    budget: Budget
    emit: Callable[[Output], Awaitable[None]]
    _received: int = 0
    _said: int = 0
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    async def drain(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK_BYTES):
            kept = self.budget.take(data)
            if kept:
                await self._say(kept)
        await self._say(b"", final=True)

    async def _say(self, data: bytes, *, final: bool = False) -> None:
        """A character that is split over two reads belongs to the chunk that begins with it."""
        start = self._said
        text = self._decoder.decode(data, final)
        self._received += len(data)
        self._said = self._received - len(self._decoder.getstate()[0])
        if text:
            await self.emit(Output(offset=start, stream=self.stream, text=text))
