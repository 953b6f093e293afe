"""What the tests of the agent share: databases that fail on purpose, a clock, records to write."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping

from farshore_edge.database import (
    Change,
    CommandRow,
    Database,
    Freed,
    Loss,
    MemoryDatabase,
    Record,
    StreamState,
    TaskBooks,
)
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox import Timing
from farshore_protocol.clock import ManualClock
from farshore_protocol.ids import Ids
from farshore_protocol.messages import CenterMark

DEADLINE_S = 45.0


async def eventually(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Lets others run until the condition holds; a deadline, no fixed wait."""
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    while not condition():
        assert loop.time() < until, "it never came to that"
        await asyncio.sleep(0.001)


def seeded_ids(seed: int = 1) -> Ids:
    return Ids(random.Random(seed))


def record(seq: int, stream: str = "metrics", payload: bytes = b'{"x":1}') -> Record:
    path = {"metrics": "tel/host", "events": "evt/test", "results": "res/a", "reports": "rep/facts"}
    return Record(stream=stream, seq=seq, path=path[stream], payload=payload)


def command_row(
    command_id: str, state: str = "accepted", report: bytes | None = None
) -> CommandRow:
    return CommandRow(
        id=command_id, verb="exec", state=state, at_ms=5, request=b"{}", report=report
    )


def timing(clock: ManualClock, *, boot: str = "boot1") -> Timing:
    return Timing(boot=boot, up_ms=int(clock.monotonic_s() * 1000), ts=clock.now_ms(), synced=False)


class FailingDatabase:
    """A database whose disk can be broken: commits, reads, or commits that match."""

    def __init__(self, inner: Database | None = None) -> None:
        self.inner = inner or MemoryDatabase(seeded_ids())
        self.commits_fail = False
        self.reads_fail = False
        self.fails_on: Callable[[Change], bool] = lambda _change: False
        self.refused = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def _ask(self) -> None:
        if self.reads_fail:
            raise DatabaseError("disk I/O error")

    def streams(self) -> dict[str, StreamState]:
        return self.inner.streams()

    def records(self, stream: str, seqs: Iterable[int]) -> dict[int, Record]:
        self._ask()
        return self.inner.records(stream, seqs)

    def losses(self) -> list[Loss]:
        return self.inner.losses()

    def command(self, command_id: str) -> CommandRow | None:
        self._ask()
        return self.inner.command(command_id)

    def unfinished_commands(self) -> list[CommandRow]:
        return self.inner.unfinished_commands()

    def recent_commands(self, limit: int) -> list[CommandRow]:
        self._ask()
        return self.inner.recent_commands(limit)

    def center(self) -> CenterMark | None:
        return self.inner.center()

    def unanswered(self) -> Mapping[str, int]:
        return self.inner.unanswered()

    def tasks(self) -> TaskBooks:
        self._ask()
        return self.inner.tasks()

    async def commit(self, change: Change) -> Freed:
        await self.gate.wait()
        if self.commits_fail or self.fails_on(change):
            self.refused += 1
            raise DatabaseError("database or disk is full")
        return await self.inner.commit(change)

    async def close(self) -> None:
        await self.inner.close()
