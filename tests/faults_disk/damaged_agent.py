"""What the agent's database does with damaged files: one word for each of many seeded cases.

As a program it prints the table of ``docs/faults.md``.
"""

import asyncio
import collections
import contextlib
import enum
import random
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

from farshore_edge.database import SqliteDatabase
from farshore_edge.errors import DatabaseError
from farshore_protocol.ids import Ids
from farshore_sim.faults.agent_workload import FILE, changes, picture
from farshore_sim.faults.damage import Damage, damage

SEED = 11
CHANGES = 40
CLOSED, IN_USE = "closed", "in use"
"""The states that ``prepare`` leaves: after an orderly end, and as it lies after a kill."""


class Outcome(enum.StrEnum):
    """From loud to silent; ``FOREIGN`` is an exception that the contract does not name."""

    REFUSED = "refused when it is opened"
    READ_FAILS = "opens; reading raises DatabaseError"
    OTHER_EPOCH = "opens as a new, empty database"
    WRITE_FAILS = "opens and reads right; writing raises DatabaseError"
    EARLIER = "opens; what was last written is gone, seqs would be given out twice"
    WRONG = "opens; holds something that was never written, unnoticed"
    FOUND_LATER = "opens, reads and writes right; integrity_check finds the damage"
    RIGHT = "opens, nothing is lost"
    FOREIGN = "raises something else than DatabaseError"


def _ids(seed: int) -> Ids:
    return Ids(random.Random(seed))


async def prepare(folder: Path) -> list[object]:
    """A database with everything in it, copied as it lies while in use: with its write-ahead log.

    Returns what it held after each change.
    """
    live = folder / "live"
    database = SqliteDatabase(live / FILE, _ids(SEED))
    pictures = [picture(database)]
    for number, change in enumerate(changes(SEED, CHANGES)):
        await database.commit(change)
        pictures.append(picture(database))
        if number == CHANGES // 2:
            with contextlib.closing(sqlite3.connect(live / FILE)) as other:
                other.execute("PRAGMA wal_checkpoint(RESTART)").close()
    shutil.copytree(live, folder / IN_USE)
    await database.close()
    shutil.copytree(live, folder / CLOSED)
    return pictures


async def outcome(
    folder: Path, name: str, kind: Damage | None, seed: int, truth: list[object]
) -> Outcome:
    """``folder`` is damaged: its file ``name``, in this way; with None it is left as it is."""
    if kind is not None:
        damage(folder / name, kind, random.Random(seed))
    try:
        database = SqliteDatabase(folder / FILE, _ids(SEED + 1))
    except DatabaseError:
        return Outcome.REFUSED
    except Exception:
        return Outcome.FOREIGN
    try:
        return await _look(database, folder / FILE, truth)
    except Exception:
        return Outcome.FOREIGN
    finally:
        await database.close()


async def _look(database: SqliteDatabase, path: Path, truth: list[object]) -> Outcome:
    try:
        found = picture(database)
    except DatabaseError:
        return Outcome.READ_FAILS
    if found != truth[-1]:
        if database.streams()["events"].epoch != truth[0][0]["events"].epoch:  # type: ignore[index] # a picture begins with the streams
            return Outcome.OTHER_EPOCH
        return Outcome.EARLIER if found in truth else Outcome.WRONG
    try:
        for change in changes(SEED, CHANGES + 10)[CHANGES:]:
            await database.commit(change)
    except DatabaseError:
        return Outcome.WRITE_FAILS
    with contextlib.closing(sqlite3.connect(path)) as other:
        try:
            words = other.execute("PRAGMA integrity_check").fetchall()
        except sqlite3.DatabaseError:
            return Outcome.FOUND_LATER
    return Outcome.RIGHT if words == [("ok",)] else Outcome.FOUND_LATER


CASES = 40
_ONE_CASE = (Damage.EMPTY, Damage.FOLDER, Damage.NO_PERMISSION)


async def table(folder: Path) -> str:
    """Rows of Markdown: the damage, and how often each outcome came of it."""
    truth = await prepare(folder)
    rows = ["| state | file | damage | what comes of it |", "| --- | --- | --- | --- |"]
    for state, name in ((CLOSED, FILE), (IN_USE, FILE), (IN_USE, FILE + "-wal")):
        for kind in Damage:
            counts: collections.Counter[str] = collections.Counter()
            for seed in range(1 if kind in _ONE_CASE else CASES):
                case = folder / "case"
                shutil.copytree(folder / state, case)
                counts[(await outcome(case, name, kind, seed, truth)).value] += 1
                shutil.rmtree(case)
            told = "; ".join(f"{count} × {word}" for word, count in counts.most_common())
            rows.append(f"| {state} | `{name}` | {kind.value} | {told} |")
    return "\n".join(rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(asyncio.run(table(Path(scratch))) + "\n")
