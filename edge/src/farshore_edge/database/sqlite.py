"""The agent's database on disk: SQLite in WAL mode, ``synchronous=FULL``, group commit.

Changes that arrive while one transaction is being synced share the next one. One thread writes;
reads are short and done where they are asked for. A change that is alone is waited for on the spot
while the disk is quick, for ``WAIT_S`` at most: a disk that hangs does not hang the agent. An epoch
is drawn when the file is made, so a wiped disk is not taken for a replay.
"""

import asyncio
import contextlib
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from farshore_protocol.codec import encode
from farshore_protocol.ids import Ids
from farshore_protocol.messages import CenterMark
from farshore_protocol.stream import RangeSet

from farshore_edge.database.model import (
    Change,
    CommandRow,
    Freed,
    Loss,
    Record,
    SetAside,
    StreamState,
    TaskBooks,
    TaskChange,
    TaskRow,
)
from farshore_edge.database.schema import claim, connect, prepare
from farshore_edge.database.writer import Work, WriterThread
from farshore_edge.errors import DatabaseError

COMMANDS_KEPT = 10_000
EPOCHS_KEPT = 10_000
WAIT_S = 0.0005
"""The event loop stands still for no longer than this; a slower disk is not waited for at all."""
_PRUNE_EVERY = 1_000


_Group = list[tuple[Change, "asyncio.Future[Freed]"]]


class SqliteDatabase:
    def __init__(
        self, path: Path, ids: Ids, *, aside: SetAside | None = None, wait_s: float = WAIT_S
    ) -> None:
        """Opens the file, or makes it. Raises DatabaseError with the path and the reason.

        ``aside``: what was there before and is damaged; it is noted in the same transaction.
        ``wait_s``: for a change that is alone; 0 where many databases share an event loop.
        """
        self._path = path
        with contextlib.ExitStack() as opened, self._errors_named():
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = claim(path)
            opened.callback(os.close, lock)
            self._writer = opened.enter_context(contextlib.closing(connect(path)))
            # After a SIGKILL the log may hold commits that were never synced: what is read from now
            # on, and sent, must not be taken back by a power loss.
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
            prepare(self._writer, path, ids, aside)
            # A file that can only be read is opened without a word, and stays so when the disk is
            # well again: this fails for it.
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("ROLLBACK")
            self._reader = opened.enter_context(contextlib.closing(connect(path)))
            self._opened = opened.pop_all()
        self._thread = WriterThread("agent-database")
        self._wait_s = wait_s
        self._took_s = math.inf
        self._waiting: _Group = []
        self._alone: list[_Group] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._since_prune = 0

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeDecodeError, TypeError) as exc:
            # The last two: what a damaged file gives for its schema or for a number.
            raise DatabaseError(f"agent database {self._path}: {exc}") from exc

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._errors_named():
            return self._reader.execute(sql, values).fetchall()

    def streams(self) -> dict[str, StreamState]:
        with self._errors_named():
            states = {}
            for name, epoch, counted, reserved in self._read(
                "SELECT name, epoch, head, reserved FROM stream"
            ):
                # Gaps and islands: within a run of consecutive seqs, seq minus its rank is constant.
                kept = self._read(
                    "SELECT min(seq), max(seq) FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq)"
                    " AS island FROM record WHERE stream = ?) GROUP BY island ORDER BY 1",
                    name,
                )
                [(size,)] = self._read(
                    "SELECT coalesce(sum(length(payload)), 0) FROM record WHERE stream = ?", name
                )
                head = max([counted, *(last for _, last in kept[-1:])])
                states[name] = StreamState(
                    epoch=epoch,
                    head=head,
                    kept=tuple((a, b) for a, b in kept),
                    bytes=size,
                    reserved=max(head, reserved),
                )
            return states

    def records(self, stream: str, seqs: Iterable[int]) -> dict[int, Record]:
        rows: list[tuple[int, str, bytes]] = []
        for first, last in RangeSet((seq, seq) for seq in seqs):
            rows += self._read(
                "SELECT seq, path, payload FROM record WHERE stream = ? AND seq BETWEEN ? AND ?",
                stream,
                first,
                last,
            )
        return {
            seq: Record(stream=stream, seq=seq, path=path, payload=payload)
            for seq, path, payload in rows
        }

    def losses(self) -> list[Loss]:
        rows = self._read("SELECT stream, epoch, first, last, reason, at_ms FROM loss ORDER BY id")
        return [
            Loss(stream=r[0], epoch=r[1], first=r[2], last=r[3], reason=r[4], at_ms=r[5])
            for r in rows
        ]

    _COMMAND = "SELECT id, verb, state, at_ms, request, report FROM command WHERE "

    def command(self, command_id: str) -> CommandRow | None:
        rows = self._read(self._COMMAND + "id = ?", command_id)
        return _command_row(rows[0]) if rows else None

    def unfinished_commands(self) -> list[CommandRow]:
        rows = self._read(
            self._COMMAND + "state IN ('received', 'accepted', 'running') ORDER BY turn"
        )
        return [_command_row(row) for row in rows]

    def recent_commands(self, limit: int) -> list[CommandRow]:
        query = self._COMMAND + "true ORDER BY turn DESC LIMIT CAST(? AS INTEGER)"
        return [_command_row(row) for row in self._read(query, str(limit))]

    def aside(self) -> SetAside | None:
        """The damaged database that was set aside when this one was made, if that is why."""
        rows = self._read("SELECT about FROM aside")
        return msgspec.json.decode(rows[0][0], type=SetAside) if rows else None

    def center(self) -> CenterMark | None:
        rows = self._read("SELECT database, epoch, generation FROM center")
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    def unanswered(self) -> Mapping[str, int]:
        return dict(self._read("SELECT stream, head FROM unanswered"))

    def tasks(self) -> TaskBooks:
        with self._errors_named():
            revs = self._read("SELECT rev FROM task_document")
            return TaskBooks(
                rev=revs[0][0] if revs else 0,
                epochs=dict(self._read("SELECT instance, epoch FROM task_epoch")),
                rows=[
                    TaskRow(id=row[0], body=bytes(row[1]))
                    for row in self._read("SELECT id, body FROM task ORDER BY rowid")
                ],
            )

    async def commit(self, change: Change) -> Freed:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Freed] = loop.create_future()
        self._waiting.append((change, done))
        if not self._busy:
            self._busy = True
            try:
                # What else is made in this turn of the loop goes into the same group.
                await asyncio.sleep(0)
            finally:
                self._take_up(loop)
        return await done

    def _take_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hands what waits to the writer's thread, as one transaction."""
        group = self._alone.pop(0) if self._alone else self._waiting
        if group is self._waiting:
            self._waiting = []
        if not group:
            self._busy = False
            self._idle.set()
            return
        try:
            work = self._thread.start(lambda: self._write([change for change, _ in group]))
        except RuntimeError as exc:  # closed
            self._answer(group, exc)
            self._take_up(loop)
            return
        waits = len(group) == 1 and not self._alone and self._took_s < self._wait_s
        if waits and work.wait(self._wait_s):
            self._written(loop, group, work)
        else:
            work.then(loop, lambda: self._written(loop, group, work))

    def _written(
        self, loop: asyncio.AbstractEventLoop, group: _Group, work: Work[list[Freed]]
    ) -> None:
        self._took_s, exc = work.took_s, work.error
        if exc is None:
            for (_, answer), freed in zip(group, work.result(), strict=True):
                if not answer.done():
                    answer.set_result(freed)
        elif len(group) > 1 and not isinstance(exc, sqlite3.OperationalError):
            # A change that can't be written must not take the others of its group with it. A disk
            # that can't be written fails all of them.
            self._alone += [[single] for single in group]
        else:
            self._answer(group, exc)
        self._take_up(loop)

    def _answer(self, group: _Group, exc: BaseException) -> None:
        for _, answer in group:
            if not answer.done():
                error = DatabaseError(f"agent database {self._path}: {exc}")
                error.__cause__ = exc
                answer.set_exception(error)

    def _write(self, changes: list[Change]) -> list[Freed]:
        """One transaction for all of them; runs in the writer's thread."""
        write = self._writer
        if len(changes) == 1 and _is_one_record(changes[0]):
            self._insert(changes[0].records)  # a statement is a transaction, and less work
            return [{}]
        write.execute("BEGIN IMMEDIATE")
        try:
            freed = [self._apply(change) for change in changes]
            for mark in [change.center for change in changes if change.center is not None][-1:]:
                write.execute("INSERT OR REPLACE INTO center VALUES (1, ?, ?, ?)", mark)
            if self._since_prune >= _PRUNE_EVERY:
                self._since_prune = 0
                write.execute(
                    "DELETE FROM command "
                    "WHERE state NOT IN ('received', 'accepted', 'running') AND turn <= "
                    "(SELECT turn FROM command ORDER BY turn DESC LIMIT 1 OFFSET ?)",
                    (COMMANDS_KEPT,),
                )
            write.execute("COMMIT")
        except BaseException:
            if write.in_transaction:
                write.execute("ROLLBACK")
            raise
        return freed

    def _apply(self, change: Change) -> Freed:
        write = self._writer
        if change.turn is not None:
            write.execute("DELETE FROM record")
            write.execute(
                "UPDATE stream SET epoch = ?, head = 0, reserved = 0", (change.turn.epoch,)
            )
        if change.unanswered is not None:
            write.execute("DELETE FROM unanswered")
            write.executemany("INSERT INTO unanswered VALUES (?, ?)", change.unanswered.items())
        if change.records:
            self._insert(change.records)
        freed = self._settled(change.settled) if change.settled else {}
        if change.marks:
            write.executemany(
                "UPDATE stream SET head = max(head, ?), reserved = ? WHERE name = ?",
                [(mark.head, mark.reserved, mark.stream) for mark in change.marks],
            )
        if change.losses:
            write.executemany(
                "INSERT INTO loss (stream, epoch, first, last, reason, at_ms) VALUES (?,?,?,?,?,?)",
                [(x.stream, x.epoch, x.first, x.last, x.reason, x.at_ms) for x in change.losses],
            )
        if change.commands:
            self._since_prune += len(change.commands)
            write.executemany(
                "INSERT INTO command SELECT coalesce(max(turn), 0) + 1, ?, ?, ?, ?, ?, ? FROM command "
                "WHERE true ON CONFLICT (id) DO UPDATE SET turn = excluded.turn, "
                "state = excluded.state, at_ms = excluded.at_ms, request = excluded.request, "
                "report = excluded.report",
                [(c.id, c.verb, c.state, c.at_ms, c.request, c.report) for c in change.commands],
            )
        if change.aside is not None:
            write.execute("INSERT OR REPLACE INTO aside VALUES (1, ?)", (encode(change.aside),))
        for tasks in change.tasks:
            self._tasks(tasks)
        return freed

    def _tasks(self, change: TaskChange) -> None:
        write = self._writer
        if change.rev is not None:
            write.execute("INSERT OR REPLACE INTO task_document VALUES (1, ?)", (change.rev,))
        if change.epochs:
            write.executemany(
                "INSERT INTO task_epoch VALUES (?, ?) ON CONFLICT (instance) "
                "DO UPDATE SET epoch = max(epoch, excluded.epoch)",
                change.epochs.items(),
            )
            write.execute(
                "DELETE FROM task_epoch WHERE epoch < coalesce((SELECT epoch FROM task_epoch "
                "ORDER BY epoch DESC LIMIT 1 OFFSET ?), 0)",
                (EPOCHS_KEPT - 1,),
            )
        write.executemany("DELETE FROM task WHERE id = ?", [(each,) for each in change.gone])
        write.executemany(
            "INSERT INTO task VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            [(row.id, row.body) for row in change.rows],
        )

    def _settled(self, ranges: Sequence[tuple[str, int, int]]) -> Freed:
        """Deletes; a head is written only here, as a record that is there says enough by itself."""
        write, freed = self._writer, dict[str, int]()
        for settled in ranges:
            size, last = write.execute(
                "SELECT sum(length(payload)), max(seq) FROM record "
                "WHERE stream = ? AND seq BETWEEN ? AND ?",
                settled,
            ).fetchone()
            if size is None:
                continue
            stream = settled[0]
            freed[stream] = freed.get(stream, 0) + size
            write.execute("DELETE FROM record WHERE stream = ? AND seq BETWEEN ? AND ?", settled)
            write.execute("UPDATE stream SET head = max(head, ?) WHERE name = ?", (last, stream))
        return freed

    def _insert(self, records: Sequence[Record]) -> None:
        sql = "INSERT INTO record VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        rows = [(r.stream, r.seq, r.path, r.payload) for r in records]
        if len(rows) == 1:
            inserted = self._writer.execute(sql, rows[0]).rowcount
        else:
            inserted = self._writer.executemany(sql, rows).rowcount
        if inserted != len(records):
            self._check_same(records)

    def _check_same(self, records: Sequence[Record]) -> None:
        for record in records:
            held = self._writer.execute(
                "SELECT path, payload FROM record WHERE stream = ? AND seq = ?",
                (record.stream, record.seq),
            ).fetchone()
            if held != (record.path, record.payload):
                raise sqlite3.IntegrityError(
                    f"{record.stream} {record.seq} is another record already"
                )

    async def close(self) -> None:
        """Waits for what is being written, then closes the file."""
        while self._busy:
            self._idle.clear()
            await self._idle.wait()
        self._thread.close()
        self._opened.close()


def _is_one_record(change: Change) -> bool:
    parts = (change.settled, change.marks, change.losses, change.commands, change.tasks)
    return len(change.records) == 1 and not any(parts) and change.aside is None


def _command_row(row: tuple[str, str, str, int, bytes, bytes | None]) -> CommandRow:
    return CommandRow(
        id=row[0], verb=row[1], state=row[2], at_ms=row[3], request=row[4], report=row[5]
    )
