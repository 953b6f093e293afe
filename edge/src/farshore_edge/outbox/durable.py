"""The durable way: records are committed with what must give way for them, and may be sent after that.

What stays in memory first, and what is said while the disk fails, is not its business.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from farshore_protocol.stream import Sender

from farshore_edge.database import Change, CommandRow, Database, Freed, Mark, Record, TaskChange
from farshore_edge.outbox.changes import joined, runs
from farshore_edge.outbox.envelope import Timing
from farshore_edge.outbox.held import Held
from farshore_edge.outbox.journal import Journal, Outage
from farshore_edge.outbox.recent import Recent
from farshore_edge.outbox.room import Room
from farshore_edge.outbox.streams import METRICS, Stream


class DurableWay:
    """``recent``: records as they are to be sent; ``writing``: what is being written."""

    def __init__(
        self,
        database: Database,
        sender: Sender,
        streams: Mapping[str, Stream],
        room: Room,
        *,
        now: Callable[[], Timing],
        held: Callable[[], Held],
        lost: Callable[[Sequence[Record]], Change],
        recovered: Callable[[Outage], None],
        woken: Callable[[], None],
        noted: Callable[[Mapping[str, int]], None],
        retry_s: float,
    ) -> None:
        """``woken`` is called when there is something new to send, ``noted`` with the heads of a start
        that nobody has answered, once they are durable; the rest is as ``Journal`` has it."""
        self._sender = sender
        self._streams = streams
        self._room = room
        self._held = held
        self._woken = woken
        self._noted = noted
        self.recent = Recent(database)
        self.writing: set[asyncio.Task[Any]] = set()
        self.journal = Journal(
            database,
            applied=self._applied,
            lost=lost,
            now=now,
            recovered=recovered,
            in_order=self._in_order,
            retry_s=retry_s,
        )

    async def append(
        self,
        stream: str,
        path: str,
        bodies: Sequence[dict[str, Any]],
        timing: Timing,
        commands: tuple[CommandRow, ...],
        tasks: tuple[TaskChange, ...] = (),
    ) -> int:
        """Records that become durable together, with what must make room for them; the last one's
        seq. Raises RecordError when one can't travel; then no seq was taken."""
        state = self._streams[stream]
        records = state.seal_all(stream, path, bodies, timing)
        state.pending.add(records[0].seq, records[-1].seq)
        change = self._room.make(stream)
        held = self._held()
        if stream == METRICS and held.unspilt():
            change = joined(held.take(0), change)
        await self.write(
            Change(
                records=[*records, *change.records],
                settled=change.settled,
                losses=change.losses,
                commands=commands,
                marks=change.marks,
                tasks=tasks,
            )
        )
        return records[-1].seq

    async def write(self, change: Change) -> None:
        """Goes on even if the caller is cancelled; ``at_rest`` waits for it."""
        await asyncio.shield(self.start(change))

    def start(self, change: Change) -> "asyncio.Task[None]":
        """Begins to make a change durable."""
        return self.spawn(self.journal.write(change))

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Work that ``at_rest`` waits for."""
        task = asyncio.create_task(work)
        self.writing.add(task)
        task.add_done_callback(self.writing.discard)
        return task

    async def at_rest(self) -> None:
        """Waits until nothing is being written."""
        while self.writing:
            await asyncio.wait(self.writing)

    def _in_order(self, marks: Sequence[Mark]) -> list[Mark]:
        return [mark for stream in self._streams.values() for mark in stream.in_order(marks)]

    def _applied(self, change: Change, freed: Freed) -> None:
        """The change is durable: what it holds may be sent now."""
        if change.unanswered is not None:
            self._noted(change.unanswered)
        for stream, size in freed.items():
            self._streams[stream].bytes -= size
        self._room.made(change)
        self._streams[METRICS].marked(change.marks)
        for stream, first, last in runs(change.records):
            state = self._streams[stream]
            state.pending.discard(first, last)
            state.told = max(state.told, last)
            for part in self._held().written(first, last) if stream == METRICS else [(first, last)]:
                self._sender.appended(stream, *part)
        self.recent.remember(change.records)
        if change.records or change.unanswered is not None:
            self._woken()
