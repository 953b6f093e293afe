"""The agent's database on disk: SQLite in WAL mode, ``synchronous=FULL``, group commit.

Changes that arrive while one transaction is being synced share the next one. One thread writes;
reads are short and done where they are asked for. An epoch is drawn when the file is made, so a
wiped disk is not taken for a replay.
"""

import asyncio
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from farshore_protocol.ids import Ids
from farshore_protocol.stream import STREAMS

from farshore_edge.database.model import Change, CommandRow, Loss, Record, StreamState
from farshore_edge.errors import DatabaseError

SCHEMA_VERSION = 1
COMMANDS_KEPT = 10_000
_PRUNE_EVERY = 1_000

_SCHEMA = """
CREATE TABLE stream (name TEXT PRIMARY KEY, epoch TEXT NOT NULL, head INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE record (stream TEXT NOT NULL, seq INTEGER NOT NULL, path TEXT NOT NULL,
    payload BLOB NOT NULL, PRIMARY KEY (stream, seq)) WITHOUT ROWID;
CREATE TABLE loss (id INTEGER PRIMARY KEY, stream TEXT NOT NULL, epoch TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, reason TEXT NOT NULL, at_ms INTEGER NOT NULL);
CREATE TABLE command (id TEXT PRIMARY KEY, verb TEXT NOT NULL, state TEXT NOT NULL,
    at_ms INTEGER NOT NULL, request BLOB NOT NULL, report BLOB) WITHOUT ROWID;
CREATE INDEX command_state ON command (state) WHERE state IN ('accepted', 'running');
CREATE INDEX command_age ON command (at_ms);
"""


class SqliteDatabase:
    def __init__(self, path: Path, ids: Ids) -> None:
        """Opens the file, or makes it. Raises DatabaseError with the path and the reason."""
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect()
            self._prepare(ids)
            self._reader = self._connect()
        except (sqlite3.Error, OSError) as exc:
            raise DatabaseError(f"agent database {path}: {exc}") from exc
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="agent-database")
        self._waiting: list[tuple[Change, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._since_prune = 0

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA busy_timeout=5000")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA cache_size=-512")
        connection.execute("PRAGMA journal_size_limit=4194304")
        return connection

    def _prepare(self, ids: Ids) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA_VERSION:
            return
        if version != 0:
            raise DatabaseError(
                f"agent database {self._path}: schema version {version}, "
                f"expected {SCHEMA_VERSION}; it was written by another version of the agent"
            )
        epoch = ids.epoch()
        self._writer.executescript("BEGIN IMMEDIATE;" + _SCHEMA)
        self._writer.executemany(
            "INSERT INTO stream VALUES (?, ?, 0)", [(stream, epoch) for stream in STREAMS]
        )
        self._writer.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        self._writer.execute("COMMIT")

    def streams(self) -> dict[str, StreamState]:
        states = {}
        for name, epoch, head in self._reader.execute("SELECT name, epoch, head FROM stream"):
            # Gaps and islands: within a run of consecutive seqs, seq minus its rank is constant.
            kept = self._reader.execute(
                "SELECT min(seq), max(seq) FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq)"
                " AS island FROM record WHERE stream = ?) GROUP BY island ORDER BY 1",
                (name,),
            ).fetchall()
            (size,) = self._reader.execute(
                "SELECT coalesce(sum(length(payload)), 0) FROM record WHERE stream = ?", (name,)
            ).fetchone()
            states[name] = StreamState(epoch=epoch, head=head, kept=tuple(kept), bytes=size)
        return states

    def records(self, stream: str, seqs: Iterable[int]) -> dict[int, Record]:
        found = {}
        for seq in seqs:
            row = self._reader.execute(
                "SELECT path, payload FROM record WHERE stream = ? AND seq = ?", (stream, seq)
            ).fetchone()
            if row is not None:
                found[seq] = Record(stream=stream, seq=seq, path=row[0], payload=row[1])
        return found

    def losses(self) -> list[Loss]:
        rows = self._reader.execute("SELECT stream, epoch, first, last, reason, at_ms FROM loss")
        return [
            Loss(stream=r[0], epoch=r[1], first=r[2], last=r[3], reason=r[4], at_ms=r[5])
            for r in rows
        ]

    _COMMAND = "SELECT id, verb, state, at_ms, request, report FROM command WHERE "

    def command(self, command_id: str) -> CommandRow | None:
        row = self._reader.execute(self._COMMAND + "id = ?", (command_id,)).fetchone()
        return _command_row(row) if row is not None else None

    def unfinished_commands(self) -> list[CommandRow]:
        rows = self._reader.execute(
            self._COMMAND + "state IN ('accepted', 'running') ORDER BY at_ms"
        )
        return [_command_row(row) for row in rows]

    async def commit(self, change: Change) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((change, done))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                await loop.run_in_executor(
                    self._thread, self._write, [change for change, _ in group]
                )
            except Exception as exc:
                error = DatabaseError(f"agent database {self._path}: {exc}")
                error.__cause__ = exc
                for _, done in group:
                    if not done.done():
                        done.set_exception(error)
            else:
                for _, done in group:
                    if not done.done():
                        done.set_result(None)

    def _write(self, changes: list[Change]) -> None:
        """One transaction for all of them; runs in the writer's thread."""
        write = self._writer
        write.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                self._apply(change)
            if self._since_prune >= _PRUNE_EVERY:
                self._since_prune = 0
                write.execute(
                    "DELETE FROM command WHERE state NOT IN ('accepted', 'running') AND at_ms < "
                    "(SELECT at_ms FROM command ORDER BY at_ms DESC LIMIT 1 OFFSET ?)",
                    (COMMANDS_KEPT,),
                )
            write.execute("COMMIT")
        except BaseException:
            if write.in_transaction:
                write.execute("ROLLBACK")
            raise

    def _apply(self, change: Change) -> None:
        write = self._writer
        if change.records:
            write.executemany(
                "INSERT INTO record VALUES (?, ?, ?, ?)",
                [(r.stream, r.seq, r.path, r.payload) for r in change.records],
            )
            heads = {r.stream: r.seq for r in sorted(change.records, key=lambda r: r.seq)}
            write.executemany(
                "UPDATE stream SET head = max(head, ?) WHERE name = ?",
                [(head, stream) for stream, head in heads.items()],
            )
        for stream, first, last in change.settled:
            write.execute(
                "DELETE FROM record WHERE stream = ? AND seq BETWEEN ? AND ?", (stream, first, last)
            )
        if change.losses:
            write.executemany(
                "INSERT INTO loss (stream, epoch, first, last, reason, at_ms) VALUES (?,?,?,?,?,?)",
                [(x.stream, x.epoch, x.first, x.last, x.reason, x.at_ms) for x in change.losses],
            )
        if change.commands:
            self._since_prune += len(change.commands)
            write.executemany(
                "INSERT INTO command VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "state = excluded.state, at_ms = excluded.at_ms, report = excluded.report",
                [(c.id, c.verb, c.state, c.at_ms, c.request, c.report) for c in change.commands],
            )

    async def close(self) -> None:
        """Waits for what is being written, then closes the file."""
        if self._flusher is not None:
            await self._flusher
        self._thread.shutdown(wait=True)
        self._reader.close()
        self._writer.close()


def _command_row(row: tuple[str, str, str, int, bytes, bytes | None]) -> CommandRow:
    return CommandRow(
        id=row[0], verb=row[1], state=row[2], at_ms=row[3], request=row[4], report=row[5]
    )
