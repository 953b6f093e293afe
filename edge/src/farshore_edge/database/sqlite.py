"""The agent's database on disk: SQLite in WAL mode, ``synchronous=FULL``, group commit.

Changes that arrive while one transaction is being synced share the next one. One thread writes;
reads are short and done where they are asked for. An epoch is drawn when the file is made, so a
wiped disk is not taken for a replay.
"""

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from farshore_protocol.ids import Ids
from farshore_protocol.messages import CenterMark

from farshore_edge.database.model import Change, CommandRow, Freed, Loss, Record, StreamState
from farshore_edge.database.schema import claim, connect, prepare
from farshore_edge.errors import DatabaseError

COMMANDS_KEPT = 10_000
_PRUNE_EVERY = 1_000


class SqliteDatabase:
    def __init__(self, path: Path, ids: Ids) -> None:
        """Opens the file, or makes it. Raises DatabaseError with the path and the reason."""
        self._path = path
        with contextlib.ExitStack() as opened, self._errors_named():
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = claim(path)
            opened.callback(os.close, lock)
            self._writer = opened.enter_context(contextlib.closing(connect(path)))
            prepare(self._writer, path, ids)
            self._reader = opened.enter_context(contextlib.closing(connect(path)))
            self._opened = opened.pop_all()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="agent-database")
        self._waiting: list[tuple[Change, asyncio.Future[Freed]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._since_prune = 0

    @contextlib.contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            raise DatabaseError(f"agent database {self._path}: {exc}") from exc

    def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._errors_named():
            return self._reader.execute(sql, values).fetchall()

    def streams(self) -> dict[str, StreamState]:
        states = {}
        for name, epoch, head in self._read("SELECT name, epoch, head FROM stream"):
            # Gaps and islands: within a run of consecutive seqs, seq minus its rank is constant.
            kept = self._read(
                "SELECT min(seq), max(seq) FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq)"
                " AS island FROM record WHERE stream = ?) GROUP BY island ORDER BY 1",
                name,
            )
            [(size,)] = self._read(
                "SELECT coalesce(sum(length(payload)), 0) FROM record WHERE stream = ?", name
            )
            states[name] = StreamState(
                epoch=epoch, head=head, kept=tuple((a, b) for a, b in kept), bytes=size
            )
        return states

    def records(self, stream: str, seqs: Iterable[int]) -> dict[int, Record]:
        found = {}
        for seq in seqs:
            for path, payload in self._read(
                "SELECT path, payload FROM record WHERE stream = ? AND seq = ?", stream, seq
            ):
                found[seq] = Record(stream=stream, seq=seq, path=path, payload=payload)
        return found

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
        rows = self._read(self._COMMAND + "state IN ('accepted', 'running') ORDER BY turn")
        return [_command_row(row) for row in rows]

    def center(self) -> CenterMark | None:
        rows = self._read("SELECT database, epoch, generation FROM center")
        return (rows[0][0], rows[0][1], rows[0][2]) if rows else None

    async def commit(self, change: Change) -> Freed:
        done: asyncio.Future[Freed] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return await done

    async def _flush(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            if not await self._settle(group):
                for single in group:
                    await self._settle([single])

    async def _settle(self, group: list[tuple[Change, "asyncio.Future[Freed]"]]) -> bool:
        """Whether the callers have their answer: all but those of a group with one bad change.

        A disk that can't be written fails all of them; a change that can't be written must not take
        the others of its group with it, so they are to be tried one by one.
        """
        loop = asyncio.get_running_loop()
        try:
            freed = await loop.run_in_executor(
                self._thread, self._write, [change for change, _ in group]
            )
        except Exception as exc:
            if len(group) > 1 and not isinstance(exc, sqlite3.OperationalError):
                return False
            for _, done in group:
                if not done.done():
                    error = DatabaseError(f"agent database {self._path}: {exc}")
                    error.__cause__ = exc
                    done.set_exception(error)
            return True
        for (_, done), each in zip(group, freed, strict=True):
            if not done.done():
                done.set_result(each)
        return True

    def _write(self, changes: list[Change]) -> list[Freed]:
        """One transaction for all of them; runs in the writer's thread."""
        write = self._writer
        write.execute("BEGIN IMMEDIATE")
        try:
            freed = [self._apply(change) for change in changes]
            for mark in [change.center for change in changes if change.center is not None][-1:]:
                write.execute("INSERT OR REPLACE INTO center VALUES (1, ?, ?, ?)", mark)
            if self._since_prune >= _PRUNE_EVERY:
                self._since_prune = 0
                write.execute(
                    "DELETE FROM command WHERE state NOT IN ('accepted', 'running') AND turn <= "
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
        if change.records:
            self._insert(change.records)
        freed: dict[str, int] = {}
        for settled in change.settled:
            stream = settled[0]
            (size,) = write.execute(
                "SELECT sum(length(payload)) FROM record WHERE stream = ? AND seq BETWEEN ? AND ?",
                settled,
            ).fetchone()
            if size is not None:
                freed[stream] = freed.get(stream, 0) + size
                write.execute(
                    "DELETE FROM record WHERE stream = ? AND seq BETWEEN ? AND ?", settled
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
        return freed

    def _insert(self, records: Sequence[Record]) -> None:
        write = self._writer
        inserted = write.executemany(
            "INSERT INTO record VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [(r.stream, r.seq, r.path, r.payload) for r in records],
        ).rowcount
        if inserted != len(records):
            self._check_same(records)
        write.executemany(
            "UPDATE stream SET head = max(head, ?) WHERE name = ?",
            [(r.seq, r.stream) for r in records],
        )

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
        if self._flusher is not None:
            await self._flusher
        self._thread.shutdown(wait=True)
        self._opened.close()


def _command_row(row: tuple[str, str, str, int, bytes, bytes | None]) -> CommandRow:
    return CommandRow(
        id=row[0], verb=row[1], state=row[2], at_ms=row[3], request=row[4], report=row[5]
    )
