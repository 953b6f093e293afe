"""Both databases of the agent keep to one contract; the one on disk keeps it through anything."""

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from edge.edge_bench import command_row, record, seeded_ids
from farshore_edge.database import (
    Change,
    Database,
    Loss,
    MemoryDatabase,
    SqliteDatabase,
    TaskChange,
    TaskRow,
)
from farshore_edge.database import memory as memory_module
from farshore_edge.database import sqlite as sqlite_module
from farshore_edge.errors import DatabaseError
from farshore_protocol.stream import STREAMS

LOSS = Loss(stream="metrics", epoch="e", first=1, last=2, reason="quota", at_ms=7)


@pytest.fixture(params=["sqlite", "memory"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    opened: Database = (
        SqliteDatabase(tmp_path / "agent.db", seeded_ids())
        if request.param == "sqlite"
        else MemoryDatabase(seeded_ids())
    )
    yield opened
    await opened.close()


async def test_a_new_database_has_every_stream_empty_and_one_epoch(database: Database) -> None:
    states = database.streams()
    assert set(states) == set(STREAMS)
    assert len({state.epoch for state in states.values()}) == 1
    assert all((s.head, s.kept, s.bytes) == (0, (), 0) for s in states.values())


async def test_records_are_there_with_head_ranges_and_bytes(database: Database) -> None:
    await database.commit(Change(records=[record(seq, payload=b"x" * seq) for seq in (1, 2, 3, 5)]))
    state = database.streams()["metrics"]
    assert (state.head, state.kept, state.bytes) == (5, ((1, 3), (5, 5)), 11)
    assert database.records("metrics", [2, 4]) == {2: record(2, payload=b"xx")}
    assert database.streams()["events"].head == 0


async def test_settled_records_are_gone_their_bytes_are_told_and_the_head_stays(
    database: Database,
) -> None:
    await database.commit(Change(records=[record(seq, payload=b"x" * seq) for seq in range(1, 7)]))
    freed = await database.commit(Change(settled=[("metrics", 2, 3), ("metrics", 6, 900)]))
    assert freed == {"metrics": 11}
    state = database.streams()["metrics"]
    assert (state.head, state.kept, state.bytes) == (6, ((1, 1), (4, 5)), 10)
    assert await database.commit(Change(settled=[("metrics", 2, 3), ("none", 1, 2)])) == {}


async def test_a_change_becomes_durable_as_a_whole_or_not_at_all(database: Database) -> None:
    await database.commit(Change(records=[record(1)]))
    whole = Change(
        records=[record(2), record(1, payload=b"another")],
        settled=[("metrics", 1, 1)],
        losses=[LOSS],
        commands=[command_row("a")],
    )
    with pytest.raises(DatabaseError, match="another record"):
        await database.commit(whole)
    assert database.streams()["metrics"].kept == ((1, 1),)
    assert database.losses() == []
    assert database.command("a") is None


async def test_the_same_record_twice_is_a_second_attempt_at_the_same_commit(
    database: Database,
) -> None:
    await database.commit(Change(records=[record(1)]))
    await database.commit(Change(records=[record(1), record(2)]))
    assert database.streams()["metrics"].kept == ((1, 2),)


async def test_a_stream_that_does_not_exist_is_refused(database: Database) -> None:
    bad = record(1)
    with pytest.raises(DatabaseError):
        await database.commit(
            Change(records=[type(bad)(stream="gossip", seq=1, path="x", payload=b"{}")])
        )


async def test_losses_are_kept_in_order(database: Database) -> None:
    other = Loss(stream="events", epoch="e", first=9, last=9, reason="missing", at_ms=1)
    await database.commit(Change(losses=[LOSS]))
    await database.commit(Change(losses=[other]))
    assert database.losses() == [LOSS, other]


async def test_a_command_is_written_over_and_unfinished_ones_are_found(database: Database) -> None:
    await database.commit(Change(commands=[command_row("b"), command_row("a", "running")]))
    await database.commit(Change(commands=[command_row("c", "succeeded", b"{}")]))
    assert [row.id for row in database.unfinished_commands()] == ["b", "a"]
    done = command_row("b", "failed", b'{"x":1}')
    await database.commit(Change(commands=[done]))
    assert database.command("b") == done
    assert [row.id for row in database.unfinished_commands()] == ["a"]
    assert database.command("none") is None


async def test_old_finished_commands_are_forgotten_and_unfinished_ones_never(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "COMMANDS_KEPT", 10)
    monkeypatch.setattr(sqlite_module, "_PRUNE_EVERY", 1)
    monkeypatch.setattr(memory_module, "COMMANDS_KEPT", 10)
    await database.commit(Change(commands=[command_row("pending")]))
    for n in range(40):
        # The clock of this node goes backwards: age must not depend on it.
        row = replace(command_row(f"c{n}", "succeeded"), at_ms=1000 - n)
        await database.commit(Change(commands=[row]))
    assert database.command("pending") is not None
    assert database.command("c0") is None
    assert database.command("c39") is not None
    assert database.command("c35") is not None


async def test_grants_are_kept_and_their_epochs_never_fall(database: Database) -> None:
    empty = database.tasks()
    assert (empty.rev, dict(empty.epochs), list(empty.rows)) == (0, {}, [])
    rows = [TaskRow(id="a.0.5", body=b"{}"), TaskRow(id="b.0.6", body=b"1")]
    first = TaskChange(rev=3, epochs={"a/0": 5, "b/0": 6}, rows=rows)
    second = TaskChange(epochs={"a/0": 4}, gone=["b.0.6"], rows=[TaskRow(id="a.0.5", body=b"2")])
    await database.commit(Change(tasks=[first, second], records=[record(1)]))
    books = database.tasks()
    assert (books.rev, dict(books.epochs)) == (3, {"a/0": 5, "b/0": 6})
    assert list(books.rows) == [TaskRow(id="a.0.5", body=b"2")]
    with pytest.raises(DatabaseError):
        await database.commit(
            Change(tasks=[TaskChange(rev=9)], records=[record(1, payload=b"another")])
        )
    assert database.tasks().rev == 3


async def test_the_oldest_epochs_are_forgotten(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "EPOCHS_KEPT", 10)
    monkeypatch.setattr(memory_module, "EPOCHS_KEPT", 10)
    for n in range(1, 31):
        await database.commit(Change(tasks=[TaskChange(epochs={f"t/{n}": n})]))
    assert dict(database.tasks().epochs) == {f"t/{n}": n for n in range(21, 31)}


# The file


async def test_a_reopened_file_is_the_same_database_and_a_wiped_one_another(tmp_path: Path) -> None:
    path, ids = tmp_path / "data" / "agent.db", seeded_ids()
    first = SqliteDatabase(path, ids)
    await first.commit(Change(records=[record(1), record(2)], commands=[command_row("a")]))
    epoch = first.streams()["metrics"].epoch
    await first.close()
    again = SqliteDatabase(path, ids)
    assert again.streams()["metrics"].epoch == epoch
    assert again.streams()["metrics"].kept == ((1, 2),)
    assert again.command("a") == command_row("a")
    await again.close()
    shutil.rmtree(path.parent)
    wiped = SqliteDatabase(path, ids)
    assert wiped.streams()["metrics"].epoch != epoch
    assert wiped.streams()["metrics"].head == 0
    await wiped.close()


async def test_many_commits_at_once_share_few_transactions(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    statements: list[str] = []
    database._writer.set_trace_callback(statements.append)
    await asyncio.gather(*(database.commit(Change(records=[record(n)])) for n in range(1, 201)))
    assert statements.count("COMMIT") <= 5
    assert database.streams()["metrics"].kept == ((1, 200),)
    await database.close()


async def test_a_bad_change_does_not_take_those_of_its_group_with_it(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    await database.commit(Change(records=[record(1)]))
    outcomes = await asyncio.gather(
        database.commit(Change(records=[record(2)])),
        database.commit(Change(records=[record(3)])),
        database.commit(Change(records=[record(1, payload=b"another")])),
        database.commit(Change(records=[record(4)])),
        return_exceptions=True,
    )
    assert [isinstance(outcome, DatabaseError) for outcome in outcomes] == [
        False,
        False,
        True,
        False,
    ]
    assert database.streams()["metrics"].kept == ((1, 4),)
    await database.close()


async def test_a_commit_after_the_end_is_an_error_and_no_hang(tmp_path: Path) -> None:
    database = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    await database.close()
    with pytest.raises(DatabaseError):
        await database.commit(Change(records=[record(1)]))
    with pytest.raises(DatabaseError):
        database.records("metrics", [1])


async def test_two_agents_on_one_file_are_one_too_many(tmp_path: Path) -> None:
    first = SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    with pytest.raises(DatabaseError, match="another agent is using it"):
        SqliteDatabase(tmp_path / "agent.db", seeded_ids())
    await first.close()
    await SqliteDatabase(tmp_path / "agent.db", seeded_ids()).close()


def _from_the_future(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()


def _no_database(path: Path) -> None:
    path.write_bytes(b"this is no database, and long enough to be looked at" * 40)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(_from_the_future, "schema version 99, expected 2", id="a later schema"),
        pytest.param(Path.mkdir, "unable to open", id="a folder in the way"),
        pytest.param(_no_database, "not a database", id="another file in the way"),
        pytest.param(
            lambda path: (path.parent.rmdir(), path.parent.write_text("x")),
            "agent.db",
            id="a file where the folder should be",
        ),
    ],
)
def test_a_file_that_cant_be_opened_is_a_readable_error(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / "data" / "agent.db"
    path.parent.mkdir()
    spoil(path)
    with pytest.raises(DatabaseError, match=words) as caught:
        SqliteDatabase(path, seeded_ids())
    assert str(path) in str(caught.value)


def test_a_folder_that_cant_be_written_is_a_readable_error(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o555)
    code = (
        "import os, random, sys; from pathlib import Path;"
        "from farshore_edge.database import SqliteDatabase; from farshore_protocol.ids import Ids;"
        "os.geteuid() == 0 and os.setuid(65534);"  # root may write anywhere
        "SqliteDatabase(Path(sys.argv[1]), Ids(random.Random(1)))"
    )
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, folder / "agent.db"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "DatabaseError: agent database" in done.stderr
    assert "ermission denied" in done.stderr or "unable to open" in done.stderr


@pytest.mark.processes
def test_what_was_acknowledged_survives_kill_9_and_no_seq_is_given_twice(tmp_path: Path) -> None:
    path, rng = tmp_path / "agent.db", random.Random(3)
    said: dict[int, str] = {}
    for life in range(20):
        writer = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("edge_crash_writer.py"), path, str(life)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        enough = rng.randint(1, 60)
        for number, line in enumerate(writer.stdout, 1):
            _take(said, line)
            if number >= enough:
                break
        writer.kill()
        for line in writer.stdout:
            _take(said, line)
        writer.stdout.close()
        writer.wait()
    with sqlite3.connect(path) as connection:
        held = dict(connection.execute("SELECT seq, payload FROM record WHERE stream = 'events'"))
    connection.close()
    assert len(said) > 100
    assert all(held[seq].decode() == payload for seq, payload in said.items())


def _take(said: dict[int, str], line: str) -> None:
    if line.endswith("\n"):  # the last may be torn by the kill
        seq, payload = line.split()
        assert int(seq) not in said, "a seq was given twice"
        said[int(seq)] = payload
