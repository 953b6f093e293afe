"""The agent's database on trial by power loss: a seeded workload, and what must be there after it.

The judge is the database's twin in memory, which passes the same conformance suite: what comes back
must be, to the byte, the state after some number of whole changes in their order, no fewer than were
answered. That holds losses, half-applied changes, heads (no seq is given out twice) and the epoch.

As a program it does the workload: several callers at once (group commit), and the file is closed and
opened anew between parts of it.
"""

import argparse
import asyncio
import contextlib
import functools
import itertools
import os
import random
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from farshore_edge.database import (
    Change,
    CommandRow,
    Database,
    Loss,
    MemoryDatabase,
    Record,
    SqliteDatabase,
)
from farshore_edge.errors import DatabaseError
from farshore_protocol.ids import Ids
from farshore_protocol.stream import STREAMS

from farshore_sim.faults.powerloss import Load
from farshore_sim.faults.pragmas import override

FILE = "agent.db"
REOPEN_EVERY = 30
ATTEMPTS = 20

T = TypeVar("T")
_COMMANDS = 12


def changes(seed: int, count: int) -> list[Change]:
    """A node's life in short: records, some acknowledged, some given up, commands on their way."""
    rng = random.Random(seed)  # noqa: S311 - replayable, not secret
    heads = dict.fromkeys(STREAMS, 0)
    return [_change(rng, heads, number) for number in range(count)]


def _change(rng: random.Random, heads: dict[str, int], number: int) -> Change:
    records: list[Record] = []
    for _ in range(rng.choice((0, 1, 1, 1, 3))):
        stream = rng.choice(STREAMS)
        heads[stream] += 1
        size = rng.choice((20, 200, 900, 6_000))
        records.append(
            Record(stream=stream, seq=heads[stream], path="tel/host", payload=rng.randbytes(size))
        )
    change = Change(records=records)
    stream = rng.choice(STREAMS)
    if rng.random() < 0.4 and heads[stream] > 6:
        first = rng.randint(1, heads[stream] - 4)
        change = replace(change, settled=[(stream, 1, first)])
    if rng.random() < 0.15:
        lost = Loss(stream=stream, epoch="e", first=number, last=number, reason="q", at_ms=number)
        change = replace(change, losses=[lost])
    if rng.random() < 0.4 or not records:
        state = rng.choice(("accepted", "running", "succeeded"))
        row = CommandRow(
            id=f"c{rng.randrange(_COMMANDS)}",
            verb="exec",
            state=state,
            at_ms=number,
            request=rng.randbytes(50),
            report=rng.randbytes(rng.choice((0, 2_000))) or None,
        )
        change = replace(change, commands=[row])
    return change


def picture(database: Database) -> object:
    """All that a database holds, comparable."""
    streams = database.streams()
    records = {
        name: database.records(name, (s for a, b in state.kept for s in range(a, b + 1)))
        for name, state in streams.items()
    }
    commands = [database.command(f"c{number}") for number in range(_COMMANDS)]
    return streams, records, database.losses(), commands, database.unfinished_commands()


class AgentWorkload:
    files: Sequence[str] = (FILE, FILE + "-wal", FILE + "-journal")
    rubbish: Sequence[str] = (FILE + "-shm",)

    def __init__(self, load: Load) -> None:
        self._load = load
        self._pictures: list[object] = []

    def argv(self, folder: Path, marks: Path) -> list[str]:
        load = self._load
        words = [sys.executable, "-m", __name__, str(folder / FILE), str(marks)]
        return [*words, str(load.seed), str(load.changes), str(load.callers), *load.pragmas]

    async def check(self, folder: Path, said: Sequence[str]) -> str | None:
        if not self._pictures:
            self._pictures = [picture async for picture in pictures(self._load)]
        numbers = {"begun": 0, "answered": 0}
        for word, number in (line.split() for line in said):
            numbers[word] = max(numbers.get(word, 0), int(number))
        path = folder / FILE
        try:
            database = SqliteDatabase(path, _ids(self._load.seed + ("opened" in numbers)))
            try:
                wrong = self._compare(picture(database), numbers["answered"], numbers["begun"])
                await _goes_on(database)
            finally:
                await database.close()
        except DatabaseError as exc:
            return str(exc)
        except Exception as exc:  # whatever else a file does to its reader is a violation, too
            return f"{type(exc).__name__}: {exc}"
        return wrong or _integrity(path)

    def _compare(self, found: object, answered: int, begun: int) -> str | None:
        if found in self._pictures[answered : begun + 1]:
            return None
        which = [n for n, each in enumerate(self._pictures) if each == found]
        held = f"the state after {which[0]} changes" if which else "no state that there ever was"
        return f"{answered} changes were answered, {begun} begun; the file holds {held}"


async def _goes_on(database: Database) -> None:
    """Every stream takes its next record: none is there already under its seq."""
    heads = {name: state.head for name, state in database.streams().items()}
    after = [
        Record(stream=name, seq=head + 1, path="tel/host", payload=b"after the power loss")
        for name, head in heads.items()
    ]
    await database.commit(Change(records=after))


def _integrity(path: Path) -> str | None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (word,) = connection.execute("PRAGMA integrity_check").fetchone()
    return None if word == "ok" else f"integrity_check: {word}"


def _ids(seed: int) -> Ids:
    return Ids(random.Random(seed))  # noqa: S311 - replayable, not secret


async def pictures(load: Load) -> AsyncIterator[object]:
    """What the workload's database holds at first, and after each change."""
    twin = MemoryDatabase(_ids(load.seed))
    yield picture(twin)
    for change in changes(load.seed, load.changes):
        await twin.commit(change)
        yield picture(twin)


async def _opened(path: Path, seed: int) -> SqliteDatabase:
    return SqliteDatabase(path, _ids(seed))


async def _again(attempt: Callable[[], Awaitable[T]]) -> T:
    """Until it succeeds: a change that could not be written waits, as in the agent."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(DatabaseError):
            return await attempt()
    return await attempt()


async def _work(path: Path, marks: int, load: Load) -> None:
    """Says ``begun N`` before the Nth change is given to the database, ``answered N`` after it."""
    waiting = enumerate(changes(load.seed, load.changes), 1)
    done = False
    while not done:
        database = await _again(lambda: _opened(path, load.seed))
        os.write(marks, b"opened 1\n")

        async def call(share: Iterator[tuple[int, Change]], database: Database = database) -> None:
            for number, change in share:
                os.write(marks, b"begun %d\n" % number)
                await _again(functools.partial(database.commit, change))
                os.write(marks, b"answered %d\n" % number)

        part = list(itertools.islice(waiting, REOPEN_EVERY))
        done = len(part) < REOPEN_EVERY
        share = iter(part)
        await asyncio.gather(*(call(share) for _ in range(load.callers)))
        await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("marks", type=Path)
    parser.add_argument("seed", type=int)
    parser.add_argument("changes", type=int)
    parser.add_argument("callers", type=int)
    parser.add_argument("pragmas", nargs="*")
    options = parser.parse_args()
    override(options.pragmas)
    marks = os.open(options.marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    load = Load(seed=options.seed, changes=options.changes, callers=options.callers)
    asyncio.run(_work(options.path, marks, load))


if __name__ == "__main__":
    main()
