"""A node's disk: what was committed survives a crash of the agent; a wiped one begins anew.

``DiskDatabase`` is one agent's way to it: the agent's in-memory database with the timing of a real
one. A commit under way at a crash is durable or not, as it comes: between the call and the answer
lies the instant at which it becomes so. Changes that come meanwhile share the next commit.
"""

import asyncio
import copy
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from farshore_edge.config.store import MemoryStore
from farshore_edge.database import Change, CommandRow, Freed, Loss, MemoryDatabase, Record
from farshore_edge.database.model import StreamState, TaskBooks
from farshore_edge.errors import DatabaseError
from farshore_protocol.ids import Ids
from farshore_protocol.messages import CenterMark

from farshore_sim.world.witness import Witness

Settled = Callable[[str, str, int, Change], None]
"""(stream, epoch, seq, change): called for each record that a change deletes."""


Line = dict[tuple[str, str, int], Record]
"""(stream, epoch, seq) → what became durable of all that this disk remembers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskCopy:
    memory: MemoryDatabase
    config: MemoryStore
    line: Line


class Disk:
    """``generation`` counts the wipes, ``epochs`` are of all of them.

    ``line``: the records of its past, as far as it was not wiped or set back. ``forgot``: commands
    that it knew before it was set back, and does not know since. It fails and is slow until the
    given times.
    """

    def __init__(
        self,
        node: str,
        *,
        time_s: Callable[[], float],
        rng: random.Random,
        witness: Witness,
        deleted: Settled,
    ) -> None:
        self.node = node
        self._time_s = time_s
        self._rng = rng
        self._witness = witness
        self._deleted = deleted
        self.generation = 0
        self.failing_until_s = 0.0
        self.slow_until_s = 0.0
        self.slow_s = 0.0
        self.memory = MemoryDatabase(Ids(rng))
        self.epochs = self._epochs()
        self.config = MemoryStore()
        self.line: Line = {}
        self.forgot: set[str] = set()

    def wipe(self) -> None:
        self.generation += 1
        self.line = {}
        self.memory = MemoryDatabase(Ids(self._rng))
        self.epochs |= self._epochs()
        self.config = MemoryStore()

    def copy(self) -> DiskCopy:
        return DiskCopy(
            memory=copy.deepcopy(self.memory),
            config=copy.deepcopy(self.config),
            line=dict(self.line),
        )

    def set_back(self, to: DiskCopy) -> None:
        """What came since is gone; its seqs will be given to other records."""
        for tag, command_id in self._witness.commands.items():
            known = self.memory.command(command_id) is not None
            if known and to.memory.command(command_id) is None:
                self.forgot.add(command_id)
                self._witness.may_run_again(self.node, tag)
        self.memory, self.config, self.line = to.memory, to.config, to.line
        for stream, state in self.memory.streams().items():
            self._witness.may_repeat((self.node, stream, state.epoch), state.reserved)

    def _epochs(self) -> frozenset[str]:
        return frozenset(state.epoch for state in self.memory.streams().values())

    def has_failed(self) -> bool:
        """What a node said because of it may travel long after it is well again."""
        return self.failing_until_s > 0

    def delay_s(self) -> float:
        slow = self._time_s() < self.slow_until_s
        return self._rng.uniform(0.0, self.slow_s if slow else 0.004)

    async def apply(self, change: Change) -> Freed:
        """The instant at which a change becomes durable."""
        if self._time_s() < self.failing_until_s:
            raise DatabaseError("agent database: disk I/O error")
        states = self.memory.streams()
        for stream, first, last in change.settled:
            for low, high in states[stream].kept:
                for seq in range(max(first, low), min(last, high) + 1):
                    self._deleted(stream, states[stream].epoch, seq, change)
        freed = await self.memory.commit(change)
        if change.turn is not None:
            self.epochs |= {change.turn.epoch}
            states = self.memory.streams()
        for record in change.records:
            epoch = states[record.stream].epoch
            self.line[record.stream, epoch, record.seq] = record
            self._witness.came_to_be(self.node, epoch, record)
        for mark in change.marks:
            self._witness.may_number(self.node, states[mark.stream].epoch, mark)
        self._witness.counts.node_commits += 1
        self._witness.note(
            "durable",
            self.node,
            [(record.stream, record.seq) for record in change.records],
            list(change.settled),
            [(row.id, row.state) for row in change.commands],
        )
        return freed


class DiskDatabase:
    """The agent's ``Database`` over a disk, for one life of the agent."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._waiting: list[tuple[Change, asyncio.Future[Freed]]] = []
        self._flusher: asyncio.Task[None] | None = None

    def streams(self) -> dict[str, StreamState]:
        return self._disk.memory.streams()

    def records(self, stream: str, seqs: Iterable[int]) -> dict[int, Record]:
        return self._disk.memory.records(stream, seqs)

    def losses(self) -> list[Loss]:
        return self._disk.memory.losses()

    def command(self, command_id: str) -> CommandRow | None:
        return self._disk.memory.command(command_id)

    def unfinished_commands(self) -> list[CommandRow]:
        return self._disk.memory.unfinished_commands()

    def recent_commands(self, limit: int) -> list[CommandRow]:
        return self._disk.memory.recent_commands(limit)

    def center(self) -> CenterMark | None:
        return self._disk.memory.center()

    def unanswered(self) -> Mapping[str, int]:
        return self._disk.memory.unanswered()

    def tasks(self) -> TaskBooks:
        return self._disk.memory.tasks()

    async def commit(self, change: Change) -> Freed:
        done: asyncio.Future[Freed] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="disk")
        return await done

    async def _flush(self) -> None:
        while self._waiting:
            await asyncio.sleep(self._disk.delay_s())
            group, self._waiting = self._waiting, []
            outcomes: list[Freed | DatabaseError] = []
            for change, _ in group:
                try:
                    outcomes.append(await self._disk.apply(change))
                except DatabaseError as exc:
                    outcomes.append(exc)
            await asyncio.sleep(self._disk.delay_s())
            for (_, done), outcome in zip(group, outcomes, strict=True):
                if done.done():
                    continue
                if isinstance(outcome, DatabaseError):
                    done.set_exception(outcome)
                else:
                    done.set_result(outcome)

    async def close(self) -> None:
        if self._flusher is not None:
            await self._flusher
