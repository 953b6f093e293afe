"""A database whose disk can't be used at a start: looked for, and what it holds is not forgotten."""

import asyncio
from pathlib import Path

import pytest
from edge.edge_bench import command_row, eventually, record, seeded_ids, timing
from farshore_edge.database import (
    Change,
    LateDatabase,
    SetAside,
    SqliteDatabase,
    open_or_wait,
)
from farshore_edge.errors import DatabaseError, DiskError
from farshore_edge.outbox import Outbox
from farshore_protocol.clock import ManualClock
from farshore_protocol.stream import Sender

NOW_MS = 1_763_830_000_000


def in_the_way(folder: Path) -> Path:
    """A database's path where there can be none, until the file that stands there is gone."""
    (folder / "data").write_text("a file")
    return folder / "data" / "agent.db"


def found(path: Path) -> LateDatabase:
    database, aside = open_or_wait(path, seeded_ids(), lambda: NOW_MS)
    assert isinstance(database, LateDatabase)
    assert aside is None
    return database


async def test_without_a_disk_there_is_no_database_and_no_epoch(tmp_path: Path) -> None:
    late = found(in_the_way(tmp_path))
    with pytest.raises(DiskError, match=r"agent\.db"):
        late.streams()
    with pytest.raises(DiskError):
        late.command("c1")
    with pytest.raises(DiskError):
        await late.commit(Change(records=[record(1)]))
    with pytest.raises(DiskError):
        await late.look()
    (tmp_path / "data").unlink()
    assert await late.look() is None
    await late.commit(Change(records=[record(1)]))
    assert late.streams()["metrics"].head == 1
    await late.close()


async def test_what_no_disk_mends_is_refused_at_once(tmp_path: Path) -> None:
    first = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    with pytest.raises(DatabaseError, match="another agent") as refused:
        open_or_wait(tmp_path / "agent.db", seeded_ids(), lambda: NOW_MS)
    assert not isinstance(refused.value, DiskError)
    await first.close()


async def test_what_was_set_aside_before_the_disk_failed_is_told_all_the_same(
    tmp_path: Path,
) -> None:
    aside = SetAside(file="agent.db.broken-x", reason="torn", at_ms=NOW_MS)
    given: list[SetAside | None] = []

    def attempt(known: SetAside | None) -> SqliteDatabase:
        given.append(known)
        if len(given) == 1:
            raise DiskError("full", aside=aside)
        return SqliteDatabase(tmp_path / "agent.db", seeded_ids(), aside=known)

    late = LateDatabase(attempt, DiskError("full"))
    with pytest.raises(DiskError):
        await late.look()
    assert await late.look() == aside
    assert given == [None, aside]
    await late.close()


async def test_an_outbox_without_a_database_speaks_from_memory_and_adopts_the_one_that_comes(
    tmp_path: Path,
) -> None:
    path = in_the_way(tmp_path)
    late, sender, clock = found(path), Sender(), ManualClock()
    outbox = Outbox(
        late,
        sender,
        now=lambda: timing(clock),
        max_bytes=2**20,
        woken=lambda: None,
        retry_s=0.01,
        draw_epoch=lambda: "volatile",
    )
    await outbox.recover()
    assert outbox.outage() is not None
    assert (outbox.heads(), outbox.queues()) == ({}, {}), "nothing is announced that is not known"
    assert await outbox.append("events", "evt/x", {"data": {"n": 1}}) == 0
    said = command_row("c1", state="rejected")
    assert await outbox.append("results", "res/c1", {"id": "c1"}, commands=(said,)) == 0
    earlier = command_row("c2", state="succeeded")
    await outbox.append(
        "results", "res/c2", {"id": "c2"}, commands=(command_row("c2", state="rejected"),)
    )
    (tmp_path / "data").unlink()
    there = SqliteDatabase(path, seeded_ids(7))
    await there.commit(Change(records=[record(1), record(2)], commands=[earlier]))
    epoch = there.streams()["metrics"].epoch
    await there.close()

    aside = await late.look()
    outbox.adopt()
    await outbox.recover(aside)
    assert outbox.heads()["metrics"].epoch == epoch
    assert sender.kept("metrics") == [(1, 2)], "what the disk held is to be sent"
    clock.advance(5)
    await eventually(lambda: outbox.outage() is None)
    await outbox.written()
    assert late.command("c1") == said, "what was refused stays refused"
    assert late.command("c2") == earlier, "what the ledger knew is not overwritten"
    assert late.streams()["events"].head >= 1, "what waited is on the disk"
    assert late.streams()["results"].head == 2
    await asyncio.wait_for(outbox.close(), 5)
    await late.close()
