"""The agent's database in memory: for simulated nodes that need not outlive their process.

It keeps to the contract of ``SqliteDatabase`` in everything but durability.
"""

from collections.abc import Iterable, Mapping

from farshore_protocol.ids import Ids
from farshore_protocol.messages import CenterMark
from farshore_protocol.stream import STREAMS, RangeSet

from farshore_edge.database.model import (
    Change,
    CommandRow,
    Freed,
    Loss,
    Record,
    StreamState,
    TaskBooks,
    TaskChange,
    TaskRow,
)
from farshore_edge.errors import DatabaseError

COMMANDS_KEPT = 1_000
EPOCHS_KEPT = 10_000
UNFINISHED = ("received", "accepted", "running")


class MemoryDatabase:
    def __init__(self, ids: Ids) -> None:
        epoch = ids.epoch()
        self._epochs = dict.fromkeys(STREAMS, epoch)
        self._heads = dict.fromkeys(STREAMS, 0)
        self._reserved = dict.fromkeys(STREAMS, 0)
        self._records: dict[str, dict[int, Record]] = {stream: {} for stream in STREAMS}
        self._losses: list[Loss] = []
        self._commands: dict[str, CommandRow] = {}
        self._center: CenterMark | None = None
        self._unanswered: dict[str, int] = {}
        self._tasks_rev = 0
        self._task_epochs: dict[str, int] = {}
        self._tasks: dict[str, bytes] = {}

    def streams(self) -> dict[str, StreamState]:
        return {
            stream: StreamState(
                epoch=self._epochs[stream],
                head=self._heads[stream],
                kept=tuple(RangeSet((seq, seq) for seq in records)),
                bytes=sum(len(record.payload) for record in records.values()),
                reserved=max(self._heads[stream], self._reserved[stream]),
            )
            for stream, records in self._records.items()
        }

    def records(self, stream: str, seqs: Iterable[int]) -> dict[int, Record]:
        held = self._records[stream]
        return {seq: held[seq] for seq in seqs if seq in held}

    def losses(self) -> list[Loss]:
        return list(self._losses)

    def command(self, command_id: str) -> CommandRow | None:
        return self._commands.get(command_id)

    def unfinished_commands(self) -> list[CommandRow]:
        return [row for row in self._commands.values() if row.state in UNFINISHED]

    def recent_commands(self, limit: int) -> list[CommandRow]:
        return list(self._commands.values())[::-1][:limit]

    def center(self) -> CenterMark | None:
        return self._center

    def unanswered(self) -> Mapping[str, int]:
        return dict(self._unanswered)

    def tasks(self) -> TaskBooks:
        return TaskBooks(
            rev=self._tasks_rev,
            epochs=dict(self._task_epochs),
            rows=[TaskRow(id=each, body=body) for each, body in self._tasks.items()],
        )

    async def commit(self, change: Change) -> Freed:
        self._check(change)
        self._center = change.center or self._center
        if change.unanswered is not None:
            self._unanswered = dict(change.unanswered)
        if change.turn is not None:
            self._epochs = dict.fromkeys(STREAMS, change.turn.epoch)
            self._heads, self._reserved = dict.fromkeys(STREAMS, 0), dict.fromkeys(STREAMS, 0)
            self._records = {stream: {} for stream in STREAMS}
        for record in change.records:
            self._records[record.stream][record.seq] = record
            self._heads[record.stream] = max(self._heads[record.stream], record.seq)
        freed: dict[str, int] = {}
        for stream, first, last in change.settled:
            held = self._records.get(stream, {})
            if last - first >= len(held):
                gone = [seq for seq in held if first <= seq <= last]
            else:
                gone = [seq for seq in range(first, last + 1) if seq in held]
            for seq in gone:
                freed[stream] = freed.get(stream, 0) + len(held.pop(seq).payload)
        for mark in change.marks:
            self._heads[mark.stream] = max(self._heads[mark.stream], mark.head)
            self._reserved[mark.stream] = mark.reserved
        self._losses.extend(change.losses)
        for row in change.commands:
            self._commands.pop(row.id, None)
            self._commands[row.id] = row
        self._forget_old_commands()
        for tasks in change.tasks:
            self._take_tasks(tasks)
        return freed

    def _take_tasks(self, change: TaskChange) -> None:
        if change.rev is not None:
            self._tasks_rev = change.rev
        for instance, epoch in change.epochs.items():
            self._task_epochs[instance] = max(epoch, self._task_epochs.get(instance, 0))
        if len(self._task_epochs) > EPOCHS_KEPT:
            least = sorted(self._task_epochs.values(), reverse=True)[EPOCHS_KEPT - 1]
            self._task_epochs = {k: v for k, v in self._task_epochs.items() if v >= least}
        for each in change.gone:
            self._tasks.pop(each, None)
        self._tasks.update({row.id: row.body for row in change.rows})

    def _check(self, change: Change) -> None:
        """Everything that can be wrong with a change, before any of it is kept."""
        streams = {record.stream for record in change.records}
        streams |= {mark.stream for mark in change.marks}
        if unknown := streams - self._records.keys():
            raise DatabaseError(f"no stream {', '.join(sorted(unknown))}")
        for record in change.records if change.turn is None else ():
            held = self._records[record.stream].get(record.seq, record)
            if held != record:
                raise DatabaseError(f"{record.stream} {record.seq} is another record already")

    def _forget_old_commands(self) -> None:
        excess = len(self._commands) - COMMANDS_KEPT
        if excess > 0:
            finished = (row.id for row in self._commands.values() if row.state not in UNFINISHED)
            for command_id in [
                command_id for command_id, _ in zip(finished, range(excess), strict=False)
            ]:
                del self._commands[command_id]

    async def close(self) -> None:
        return None
