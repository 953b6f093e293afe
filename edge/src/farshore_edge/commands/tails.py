"""Live logs: lines to ``log/<name>`` at QoS 0, while somebody asks for them.

A tail lives on a lease: whoever follows asks again in time, or it ends by itself. It is bounded in
lines and bytes a second, and says nothing into a link that is full; what was left out is counted in
the next message. It remembers its last lines, so that who comes later misses nothing in between.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from farshore_protocol.codec import decode, encode
from farshore_protocol.link import Message
from farshore_protocol.messages.log import LogEnd, LogLines, LogRenewal
from farshore_protocol.topics import Up

log = logging.getLogger(__name__)

FLUSH_S = 0.2
TAILS_MOST = 8
LINE_MAX_BYTES = 8 * 1024
MESSAGE_BYTES = 64 * 1024
"""Of lines in one message, as JSON; one line always fits."""
KEPT_LINES = 1000
KEPT_BYTES = 128 * 1024


class Uplink(Protocol):
    @property
    def connected(self) -> bool: ...

    @property
    def congested(self) -> bool: ...

    def publish(self, message: Message) -> bool: ...


class SourceFailedError(Exception):
    """A log can't be read any further; says why."""


class Source(Protocol):
    """A log that goes on. ``title``: which, for people."""

    title: str

    async def first(self) -> list[bytes]:
        """The lines so far that were asked for; ``more`` goes on behind the last of all."""
        ...

    async def more(self) -> list[bytes]:
        """Waits for lines. Raises SourceFailedError; may be cancelled."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What a follower is told: ``lines`` up to message ``seq`` of the ``tail``."""

    name: str
    tail: str
    seq: int
    title: str
    lines: Sequence[bytes]


class TooManyError(Exception):
    """There are as many tails as there may be."""


class Allowance:
    """A token bucket that holds one second's worth. Pure: the time is given."""

    def __init__(self, per_s: float, now_s: float) -> None:
        self._per_s = self._left = per_s
        self._at_s = now_s

    def has(self, amount: float, now_s: float) -> bool:
        self._left = min(self._per_s, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        # More than a second's worth at once passes a full bucket, and costs it all.
        return self._left >= min(amount, self._per_s)

    def take(self, amount: float) -> None:
        self._left -= min(amount, self._per_s)


def portions(lines: Sequence[str]) -> list[tuple[str, ...]]:
    """In messages that fit."""
    found: list[list[str]] = []
    room = 0
    for line in lines:
        size = len(encode(line)) + 1
        if not found or size > room:
            found.append([])
            room = MESSAGE_BYTES
        found[-1].append(line)
        room -= size
    return [tuple(each) for each in found]


class _Tail:
    def __init__(self, name: str, source: Source, lease_until_s: float, tails: "Tails") -> None:
        self.name = name
        self.id = secrets.token_hex(6)
        self.seq = 0
        self.lease_until_s = lease_until_s
        self.source = source
        self._tails = tails
        self._kept: deque[bytes] = deque()
        self._kept_bytes = 0
        self._waiting: list[str] = []
        self._dropped = 0
        now_s = tails.monotonic_s()
        self._lines = Allowance(tails.lines_per_s, now_s)
        self._bytes = Allowance(tails.bytes_per_s, now_s)

    async def begin(self) -> None:
        for line in await self.source.first():
            self._keep(line)

    async def run(self) -> None:
        reading = asyncio.create_task(self._read(), name=f"log {self.name}")
        end: LogEnd = "agent_stopped"
        detail = None
        try:
            while not reading.done() and self._tails.monotonic_s() < self.lease_until_s:
                await asyncio.wait([reading], timeout=FLUSH_S)
                self._flush()
            end = "lease_over"
            if reading.done() and (failure := reading.exception()) is not None:
                end, detail = "source_failed", str(failure) or type(failure).__name__
        finally:
            reading.cancel()
            await asyncio.wait([reading])
            self._say((), end=end, detail=detail)
            await self.source.close()

    async def _read(self) -> None:
        while True:
            for line in await self.source.more():
                self._take(line[:LINE_MAX_BYTES])

    def _take(self, line: bytes) -> None:
        now_s = self._tails.monotonic_s()
        if self._lines.has(1, now_s) and self._bytes.has(len(line) + 1, now_s):
            self._lines.take(1)
            self._bytes.take(len(line) + 1)
            self._waiting.append(line.decode(errors="replace"))
        else:
            self._dropped += 1

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for portion in portions(waiting):
            if not self._say(portion):
                self._dropped += len(portion)
        if not waiting and self._dropped:
            self._say(())

    def _say(
        self, lines: tuple[str, ...], *, end: LogEnd | None = None, detail: str | None = None
    ) -> bool:
        uplink = self._tails.uplink
        if not uplink.connected or (uplink.congested and end is None):
            return False
        word = LogLines(
            tail=self.id,
            seq=self.seq + 1,
            ts=self._tails.now_ms(),
            source=self.source.title,
            lines=lines,
            dropped=self._dropped,
            end=end,
            detail=detail,
        )
        if not self._tails.publish(self.name, word):
            return False
        self.seq, self._dropped = self.seq + 1, 0
        for line in lines:
            self._keep(line.encode())
        return True

    def _keep(self, line: bytes) -> None:
        self._kept.append(line)
        self._kept_bytes += len(line) + 1
        while len(self._kept) > KEPT_LINES or self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft()) + 1

    def following(self, lines: int) -> Following:
        kept = list(self._kept)
        return Following(
            name=self.name,
            tail=self.id,
            seq=self.seq,
            title=self.source.title,
            lines=kept[len(kept) - min(lines, len(kept)) :],
        )


class Tails:
    """All live logs of this node."""

    def __init__(
        self,
        *,
        node: str,
        uplink: Uplink,
        now_ms: Callable[[], int],
        monotonic_s: Callable[[], float],
        lines_per_s: int,
        bytes_per_s: int,
    ) -> None:
        self._node = node
        self.uplink = uplink
        self.now_ms = now_ms
        self.monotonic_s = monotonic_s
        self.lines_per_s = lines_per_s
        self.bytes_per_s = bytes_per_s
        self._tails: dict[str, tuple[_Tail, asyncio.Task[None]]] = {}
        self._beginning = asyncio.Lock()

    def names(self) -> list[str]:
        return sorted(self._tails)

    async def follow(
        self, name: str, make: Callable[[], Source], *, lease_s: float, lines: int
    ) -> Following:
        """Begins a tail, or joins the one that runs. Raises TooManyError, and what the source raises
        when it can't be read at all."""
        async with self._beginning:
            if name in self._tails:
                tail, _ = self._tails[name]
                tail.lease_until_s = max(tail.lease_until_s, self.monotonic_s() + lease_s)
                return tail.following(lines)
            if len(self._tails) >= TAILS_MOST:
                raise TooManyError(f"{TAILS_MOST} logs are followed here already")
            tail = _Tail(name, make(), self.monotonic_s() + lease_s, self)
            try:
                await tail.begin()
            except BaseException:
                await tail.source.close()
                raise
            task = asyncio.create_task(tail.run(), name=f"tail {name}")
            self._tails[name] = tail, task
            task.add_done_callback(lambda done: self._ended(name, done))
            return tail.following(lines)

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        del self._tails[name]
        if not task.cancelled() and task.exception() is not None:
            log.error("a live log broke", extra={"log": name}, exc_info=task.exception())

    def renew(self, name: str, payload: bytes) -> None:
        """``down/<node>/log/<name>``. Raises RemoteProtocolError."""
        word = decode(LogRenewal, payload or b"{}")
        if name not in self._tails:
            self.publish(name, LogLines(tail=None, seq=0, ts=self.now_ms(), end="unknown"))
            return
        tail, _ = self._tails[name]
        tail.lease_until_s = max(tail.lease_until_s, self.monotonic_s() + word.follow_s)

    def publish(self, name: str, word: LogLines) -> bool:
        topic = Up(node=self._node, kind="log", name=name).build()
        return self.uplink.publish(Message(topic=topic, payload=encode(word)))

    async def stop(self) -> None:
        tasks = [task for _, task in self._tails.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
