"""Programs that the agent has started, on record before they run: after a crash they are ended.

Each program carries a mark in its environment that no other has, and a file names it until it has
ended. A crash of the agent leaves the files, and whoever is proven to belong to one is ended at the
next start. A number alone proves nothing: it may be another's by now.
"""

import asyncio
import contextlib
import functools
import json
import logging
import os
import secrets
import signal
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path

from farshore_edge.commands.verbs.table import (
    PROC,
    Seen,
    Table,
    descendants,
    family,
    lives,
    marked,
    process,
    processes,
    tell,
)

log = logging.getLogger(__name__)

VARIABLE = "FARSHORE_PROGRAM"
TERM_GRACE_S = 2.0
KILL_ROUNDS = 5
LOOK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A program that was to be started. ``boot``: the start of the machine, by the kernel's id.
    ``pid``, ``started``: of its first process, 0 where that is not known."""

    mark: str
    command: str
    boot: str
    pid: int = 0
    started: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A process that a dead agent had left, and that was ended."""

    pid: int
    name: str


def orphans(record: Record, table: Table, marked_pids: AbstractSet[int]) -> set[int]:
    """Whoever is proven to belong to a program. Pure.

    Proven is who has its mark; the group and session of its first process, where that lives or one
    of them has the mark; and whoever descends from these.
    """
    proven = {pid for pid in marked_pids if pid in table}
    leader = table.get(record.pid) if record.pid else None
    lives_still = leader is not None and leader.started == record.started
    if lives_still or any(record.pid in (table[pid].pgid, table[pid].sid) for pid in proven):
        proven |= family(table, record.pid)
    return descendants(table, proven) - {0, 1, os.getpid()}


class Guard:
    """``folder``: where the records are; without one there are only marks."""

    def __init__(
        self, folder: Path | None = None, *, draw: Callable[[], str] = lambda: secrets.token_hex(12)
    ) -> None:
        self._folder = folder
        self._draw = draw

    def begin(self, command: str, *, must: bool = True) -> Record:
        """On record before the program is started. Raises OSError, unless it need not be."""
        record = Record(mark=self._draw(), command=command, boot=_boot())
        with contextlib.suppress(*(() if must else (OSError,))):
            if self._folder is not None:
                try:
                    self._say(record)
                except FileNotFoundError:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    self._say(record)
        return record

    def _say(self, record: Record) -> None:
        """Not synced: it is for a crash of the agent; after one of the machine no program is left."""
        line = {name: getattr(record, name) for name in Record.__dataclass_fields__}
        # One write of the system, not a file object: this is in the way of every program.
        file = os.open(self._file(record), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(file, json.dumps(line).encode() + b"\n")
        finally:
            os.close(file)

    def _file(self, record: Record) -> str:
        return f"{self._folder}/{record.mark}"

    def started(self, record: Record, pid: int) -> None:
        """Helps to find those that gave away their environment."""
        seen = process(pid) if self._folder is not None else None
        if seen is not None:
            with contextlib.suppress(OSError):
                self._say(_with(record, seen))

    def ended(self, record: Record) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._file(record))

    async def end_rest(self, record: Record) -> list[Orphan]:
        """Ends all of a program, those that left its group included."""
        return await _end(record)

    async def end_orphans(self) -> dict[str, list[Orphan]]:
        """At a start, before anything is run: command → what a dead agent had left of it."""
        found: dict[str, list[Orphan]] = {}
        if self._folder is None:
            return found
        for record in await asyncio.to_thread(self._left):
            ended = await _end(record) if record.boot == _boot() else []
            if ended:
                found.setdefault(record.command, []).extend(ended)
                log.warning(
                    "ended what the agent before this one had left",
                    extra={"command": record.command, "processes": told(ended)},
                )
            self.ended(record)
        return found

    def _left(self) -> list[Record]:
        if self._folder is None:
            return []
        records = []
        with contextlib.suppress(OSError):
            for file in sorted(self._folder.iterdir()):
                with contextlib.suppress(OSError):
                    records.append(_read(file.name, file.read_text("utf-8", errors="replace")))
        return records


def told(ended: Iterable[Orphan]) -> str:
    """For people."""
    return ", ".join(f"{each.name} (pid {each.pid})" for each in ended)


def _with(record: Record, seen: Seen) -> Record:
    return Record(
        mark=record.mark,
        command=record.command,
        boot=record.boot,
        pid=seen.pid,
        started=seen.started,
    )


def _read(mark: str, text: str) -> Record:
    """The last whole line counts; a broken file still has its mark."""
    record = Record(mark=mark, command="", boot=_boot())
    for line in text.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            record = Record(**{**json.loads(line), "mark": mark})
    return record


@functools.cache
def _boot() -> str:
    """It does not change while a process lives."""
    try:
        return Path(PROC, "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _look(record: Record) -> list[Seen]:
    have_mark = marked(f"{VARIABLE}={record.mark}")
    table = processes()
    return [table[pid] for pid in sorted(orphans(record, table, have_mark))]


async def _gone(those: Iterable[Seen]) -> None:
    """Until none of them lives, for as long as the grace lasts."""
    left = list(those)
    for _ in range(round(TERM_GRACE_S / LOOK_S)):
        left = [seen for seen in left if lives(seen)]
        if not left:
            return
        await asyncio.sleep(LOOK_S)


async def _end(record: Record) -> list[Orphan]:
    """SIGTERM, a grace, SIGKILL until nobody is found."""
    found = await asyncio.to_thread(_look, record)
    ended = {seen.pid: seen for seen in found if tell(seen, signal.SIGTERM)}
    await _gone(ended.values())
    for _ in range(KILL_ROUNDS if ended else 0):
        # Who was proven once stays so, also when the one that proved it is gone.
        again = await asyncio.to_thread(_look, record)
        left = {seen.pid: seen for seen in (*again, *filter(lives, ended.values()))}
        if not left:
            break
        for seen in left.values():
            if tell(seen, signal.SIGKILL):
                ended[seen.pid] = seen
        await asyncio.sleep(LOOK_S)
    return [Orphan(pid=seen.pid, name=seen.name) for seen in ended.values()]
