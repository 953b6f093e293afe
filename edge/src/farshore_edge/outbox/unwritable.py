"""What is said while the disk can't be written, and how it ends: what waits then goes the durable
way, and the center is told of the outage. How it is said is the volatile epoch's business."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any, Protocol

from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.journal import Outage
from farshore_edge.outbox.streams import Stream
from farshore_edge.outbox.volatile import Volatile, Word

OUTAGE_TOLD_MS = 1_000
"""A shorter one is no news."""


class Append(Protocol):
    def __call__(
        self, stream: str, path: str, body: dict[str, Any], *, timing: Timing | None = None
    ) -> Coroutine[Any, Any, int]: ...


class Unwritable:
    def __init__(
        self,
        streams: Mapping[str, Stream],
        volatile: Volatile | None,
        *,
        now: Callable[[], Timing],
        append: Append,
    ) -> None:
        """``append``: the durable way."""
        self._streams = streams
        self._volatile = volatile
        self._now = now
        self._append = append
        self.promised: set[asyncio.Task[int]] = set()
        """What is on its way to be appended."""

    def say(self, stream: str, path: str, body: dict[str, Any], timing: Timing) -> None:
        """Raises RecordError when it can't travel."""
        if self._volatile is None:
            raise RuntimeError("no epoch to speak from memory in")
        replace(self._streams[stream], epoch="x" * 16).seal(stream, path, body, timing)
        self._volatile.put(Word(stream=stream, path=path, body=body, timing=timing))

    def recovered(self, outage: Outage) -> None:
        """The disk is well."""
        said = given_up = 0
        if self._volatile is not None:
            said, given_up = self._volatile.said, self._volatile.given_up
            self._volatile.said = self._volatile.given_up = 0
            for word in self._volatile.take_waiting():
                self._later(self._append(word.stream, word.path, word.body, timing=word.timing))
        now = self._now()
        if now.up_ms - outage.since.up_ms < OUTAGE_TOLD_MS:
            return
        data = {
            "state": "recovered",
            "since": outage.since.ts,
            "lasted_s": (now.up_ms - outage.since.up_ms) / 1000,
            "error": outage.error[:500],
            "sent_from_memory": said,
            "given_up": given_up,
        }
        self._later(self._append("events", "evt/outbox", {"data": data}))

    def _later(self, work: Coroutine[Any, Any, int]) -> None:
        task = asyncio.create_task(work)
        self.promised.add(task)
        task.add_done_callback(self.promised.discard)
