"""What a running command says: silent at first, then its output as it comes, in reports that fit.

A report is never cut short: whoever stops the teller waits for the one under way, so that reports
keep their order and nothing is said after the last.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace

from farshore_protocol.codec import encode
from farshore_protocol.commands import Output

from farshore_edge.commands.ledger import Entry, Ledger

QUIET_S = 0.25
"""A command that ends sooner is one report; a longer one reports at most this often …"""
EAGER_BYTES = 8 * 1024
"""… or whenever so much output has come together."""
OUTPUT_MAX_BYTES = 76 * 1024
"""Of output in one report, as JSON; the rest of the message is for the envelope and the result."""


def first_portion(chunks: Sequence[Output]) -> tuple[list[Output], list[Output]]:
    """As many chunks as fit into one report, at least a part of the first, and the rest."""
    portion: list[Output] = []
    rest = list(chunks)
    room = OUTPUT_MAX_BYTES
    while rest:
        size = len(encode(asdict(rest[0]))) + 1
        if size <= room:
            portion.append(rest.pop(0))
            room -= size
        elif portion:
            break
        else:
            rest[:1] = _halves(rest[0])
    return portion, rest


def _halves(chunk: Output) -> list[Output]:
    half = len(chunk.text) // 2
    head, tail = chunk.text[:half], chunk.text[half:]
    return [
        replace(chunk, text=head),
        replace(chunk, offset=chunk.offset + len(head.encode()), text=tail),
    ]


class Teller:
    """Reports of one running command."""

    def __init__(self, entry: Entry, ledger: Ledger) -> None:
        self._entry = entry
        self._ledger = ledger
        self._chunks: list[Output] = []
        self._bytes = 0
        self._ended = False
        self._speaking = asyncio.Lock()
        self._pace: asyncio.Task[None] | None = None
        self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self._begin)

    def _begin(self) -> None:
        """Most commands end before it; they need no task for it."""
        self._pace = asyncio.create_task(self._keep_pace(), name=f"reports of {self._entry.id}")

    async def _keep_pace(self) -> None:
        await self.speak()
        while True:
            await asyncio.sleep(QUIET_S)
            if self._chunks:
                await self.speak()

    async def emit(self, chunk: Output) -> None:
        self._chunks.append(chunk)
        self._bytes += len(chunk.text)
        if self._bytes > EAGER_BYTES:
            await self.speak()

    async def speak(self) -> None:
        """Reports where the command is, with what output there is."""
        async with self._speaking:
            if self._ended:
                return
            first = True
            while self._chunks or first:
                first, self._bytes = False, 0
                portion, self._chunks = first_portion(self._chunks)
                await self._ledger.report(self._entry, output=tuple(portion), keep=False)

    async def stop(self) -> list[Output]:
        """No report is under way or will come; the output that is left to say."""
        async with self._speaking:
            self._ended = True
            self._quiet.cancel()
        if self._pace is not None:
            self._pace.cancel()
            await asyncio.wait([self._pace])
        return self._chunks
