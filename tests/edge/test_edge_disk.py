"""A damaged, full or unwritable disk: nothing is deleted, nothing is run twice, the agent goes on."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from edge.edge_bench import FailingDatabase, command_row, eventually, record, seeded_ids, timing
from farshore_edge.commands import CommandService, Policy
from farshore_edge.commands.ledger import Ledger
from farshore_edge.commands.verbs import Context, Handler, Outcome
from farshore_edge.database import (
    Change,
    Mark,
    MemoryDatabase,
    SetAside,
    SqliteDatabase,
    open_database,
)
from farshore_edge.database import schema as schema_module
from farshore_edge.errors import DatabaseError
from farshore_edge.outbox import Courier, Outbox
from farshore_protocol.clock import ManualClock
from farshore_protocol.commands import Command
from farshore_protocol.link import Message
from farshore_protocol.stream import Sender, StreamAck
from farshore_protocol.telemetry import inflate

NOW_MS = 1_763_830_000_000
STAMP = "20251122T164640Z"


def broken(folder: Path) -> list[Path]:
    """Without the logs and indexes that lie beside them."""
    found = folder.glob("*.broken-*")
    return sorted(file for file in found if not file.name.endswith(("-wal", "-shm")))


async def _used(path: Path) -> str:
    """A database that was in use; its epoch."""
    database = SqliteDatabase(path, seeded_ids())
    filler = [record(n, payload=b"x" * 3000) for n in range(1, 60)]
    await database.commit(Change(records=[*filler, record(1, "events"), record(2, "events")]))
    await database.commit(Change(settled=[("metrics", 3, 9)], commands=[command_row("c1")]))
    await database.commit(Change(marks=[Mark(stream="metrics", head=59, reserved=123)]))
    epoch = database.streams()["metrics"].epoch
    await database.close()
    return epoch


def _overwritten(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for start in range(8 * 4096, len(content), 4096):
        content[start : start + 2000] = b"\x5a" * 2000
    path.write_bytes(content)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 4096 * 5])


def _another_file(path: Path) -> None:
    path.write_bytes(b"this is no database, and long enough to be looked at" * 40)


def _without_a_table(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE command")
        connection.commit()


def _foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE somebody (else_ TEXT)")


@pytest.mark.parametrize(
    ("spoil", "known"),
    [
        (_overwritten, True),
        (_cut_short, False),
        (_another_file, False),
        (_without_a_table, True),
        (_foreign, False),
    ],
)
async def test_a_damaged_database_is_set_aside_and_a_new_epoch_begun(
    tmp_path: Path, spoil: Callable[[Path], None], known: bool
) -> None:
    path = tmp_path / "agent.db"
    old_epoch = await _used(path)
    spoil(path)
    content = path.read_bytes()
    database = open_database(path, seeded_ids(2), now_ms=NOW_MS)
    aside = database.aside()
    assert aside is not None
    assert aside.file == f"agent.db.broken-{STAMP}"
    assert (tmp_path / aside.file).read_bytes() == content, "kept as it was found"
    assert database.streams()["metrics"].epoch != old_epoch
    assert database.streams()["metrics"].head == 0
    if known:
        assert {epoch for _, epoch, _, _ in aside.lost} == {old_epoch}
        lost = {(s, seq) for s, _, a, b in aside.lost for seq in range(a, b + 1)}
        assert {("metrics", n) for n in (1, 2, *range(10, 60), *range(60, 124))} <= lost
        assert ("metrics", 124) not in lost
        assert ("events", 2) in lost
    await database.close()
    again = open_database(path, seeded_ids(3), now_ms=NOW_MS)
    assert again.aside() == aside, "remembered, and not done again"
    await again.close()
    assert len(broken(tmp_path)) == 1


async def test_a_sound_database_is_left_alone_and_a_later_version_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "agent.db"
    epoch = await _used(path)
    database = open_database(path, seeded_ids(2), now_ms=NOW_MS)
    assert database.aside() is None
    assert database.streams()["metrics"].epoch == epoch
    with pytest.raises(DatabaseError, match="another agent is using it"):
        open_database(path, seeded_ids(3), now_ms=NOW_MS)
    await database.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version=99")
    with pytest.raises(DatabaseError, match="schema version 99"):
        open_database(path, seeded_ids(2), now_ms=NOW_MS)
    assert broken(tmp_path) == []


async def test_damage_twice_in_one_second_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    for text in (b"first", b"second"):
        path.write_bytes(text * 500)
        await open_database(path, seeded_ids(), now_ms=NOW_MS).close()
    found = broken(tmp_path)
    assert [file.name for file in found] == [
        f"agent.db.broken-{STAMP}",
        f"agent.db.broken-{STAMP}-2",
    ]
    assert [file.read_bytes()[:5] for file in found] == [b"first", b"secon"]


async def test_a_setting_aside_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    database = SqliteDatabase(path, seeded_ids())
    await database.commit(Change(records=[record(1)]))
    wal = tmp_path / "log"
    shutil.copy(f"{path}-wal", wal)  # as it lies while the agent runs
    await database.close()
    path.unlink()
    shutil.move(wal, f"{path}-wal")
    fresh = open_database(path, seeded_ids(2), now_ms=NOW_MS)
    assert fresh.streams()["metrics"].kept == ()
    assert (tmp_path / f"agent.db.broken-{STAMP}-wal").exists()
    await fresh.close()


async def test_a_database_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with closing(sqlite3.connect(path)) as connection:
        first = schema_module._SCHEMA.replace(",\n    reserved INTEGER NOT NULL DEFAULT 0", "")
        connection.executescript(first + "DROP TABLE aside;")
        for name in ("results", "events", "reports", "metrics"):
            connection.execute("INSERT INTO stream VALUES (?, 'old', 7)", (name,))
        connection.execute("INSERT INTO record VALUES ('metrics', 7, 'tel/host', X'7B7D')")
        connection.execute("PRAGMA user_version=1")
        connection.commit()
    database = open_database(path, seeded_ids(), now_ms=NOW_MS)
    state = database.streams()["metrics"]
    assert (state.epoch, state.head, state.reserved, state.kept) == ("old", 7, 7, ((7, 7),))
    assert database.aside() is None
    await database.close()


# The node on such a disk


class Bench:
    """Outbox, courier and commands on one disk; a center that is written by the test."""

    def __init__(self, aside: SetAside | None = None) -> None:
        self.clock = ManualClock()
        self.disk = FailingDatabase(MemoryDatabase(seeded_ids()))
        self.sent: list[Message] = []
        self.runs: list[str] = []
        self.began_ms: float | None = None
        sender = Sender()
        self.outbox = Outbox(
            self.disk,
            sender,
            now=lambda: timing(self.clock),
            max_bytes=2**24,
            woken=lambda: self.courier.wake(),
            retry_s=0.01,
            draw_epoch=seeded_ids(7).epoch,
        )
        self.courier = Courier(
            node="n1", outbox=self.outbox, sender=sender, uplink=self, clock=self.clock
        )
        handlers: dict[str, Handler] = {"ping": self._run("ping"), "exec": self._run("exec")}
        self.service = CommandService(
            Ledger(self.disk, self.outbox, aside=aside, began_ms=lambda: self.began_ms),
            handlers,
            policy=Policy.development(),
            ids=seeded_ids(),
            now_ms=self.clock.now_ms,
            monotonic_s=self.clock.monotonic_s,
            center_ms=lambda: None,
            at_once=4,
            output_max_bytes=2**20,
        )
        self.running = asyncio.create_task(self.courier.run())

    def _run(self, name: str) -> Handler:
        async def handle(_args: Any, _context: Context) -> Outcome:
            self.runs.append(name)
            return Outcome(result={"ran": name})

        return handle

    def publish(self, message: Message) -> bool:
        self.sent.append(message)
        return True

    async def connect(self) -> None:
        self.courier.link_up()
        await self.courier.acknowledged({})

    def words(self, kind: str) -> list[dict[str, Any]]:
        return [orjson.loads(inflate(m.payload)) for m in self.sent if f"/{kind}" in m.topic]

    async def answer(self) -> None:
        """The center acknowledges all that it got."""
        streams = {"tel": "metrics", "res": "results", "evt": "events"}
        for message in self.sent:
            word = orjson.loads(inflate(message.payload))
            stream = streams[message.topic.split("/")[3]]
            ack = StreamAck(epoch=word["epoch"], ranges=((word["seq"], word["seq"]),))
            await self.courier.acknowledged({stream: ack})
        for _ in range(10):
            await asyncio.sleep(0)

    async def metric(self, value: float) -> int:
        return await self.outbox.append("metrics", "tel/host", {"dt": [0], "m": {"x": [value]}})

    def take(self, verb: str, **fields: Any) -> None:
        args = {"argv": ["true"]} if verb == "exec" else {}
        self.service.take(verb, orjson.dumps({"args": args, **fields}))

    async def report(self, command_id: str) -> dict[str, Any]:
        await eventually(lambda: self.words(f"res/{command_id}"))
        return self.words(f"res/{command_id}")[-1]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await _end(made)


async def _end(made: Bench) -> None:
    made.disk.commits_fail = made.disk.reads_fail = False
    await made.service.stop()
    made.running.cancel()
    await asyncio.wait([made.running])
    await made.outbox.close()


async def test_metrics_go_on_from_memory_and_then_on_the_disk_and_none_is_lost(
    bench: Bench,
) -> None:
    await bench.connect()
    assert await bench.metric(0) == 1
    bench.disk.commits_fail = True
    for n in range(1, 80):  # more than were reserved
        await bench.metric(float(n))
        for _ in range(5):
            await asyncio.sleep(0)
        await bench.answer()
    await eventually(lambda: len({w["m"]["x"][0] for w in bench.words("tel")}) == 80)
    seqs: dict[tuple[str, int], float] = {}
    for word in bench.words("tel"):
        value = word["m"]["x"][0]
        assert seqs.setdefault((word["epoch"], word["seq"]), value) == value, "given out twice"
    epochs = {epoch for epoch, _ in seqs}
    assert len(epochs) == 2, "what was not reserved is said in an epoch of its own"
    assert sorted(seqs.values()) == [float(n) for n in range(80)], "each sample once"
    assert bench.outbox.outage() is not None
    bench.clock.advance(5)
    bench.disk.commits_fail = False
    await eventually(lambda: bench.words("evt/outbox"))
    told = bench.words("evt/outbox")[0]["data"]
    assert (told["state"], told["given_up"]) == ("recovered", 0)
    assert told["sent_from_memory"] == 16
    assert bench.outbox.outage() is None
    assert await bench.metric(80) > 64, "the durable epoch goes on"
    assert bench.disk.losses() == []


async def test_what_waited_in_memory_goes_to_the_disk_when_it_is_well(bench: Bench) -> None:
    await bench.connect()
    bench.disk.commits_fail = True
    for n in range(5):
        await bench.metric(float(n))
    await eventually(lambda: bench.words("tel"))
    bench.disk.commits_fail = False
    await eventually(
        lambda: {w["m"]["x"][0] for w in bench.words("tel")} == set(map(float, range(5)))
    )
    values = {(w["epoch"], w["seq"]): w["m"]["x"][0] for w in bench.words("tel")}
    assert sorted(values.values()) == [0.0, 1.0, 2.0, 3.0, 4.0], (
        "the one that was said is not said again"
    )


@pytest.mark.parametrize("name", ["commits_fail", "reads_fail"])
async def test_without_a_ledger_only_what_changes_nothing_is_run(bench: Bench, name: str) -> None:
    await bench.connect()
    setattr(bench.disk, name, True)
    bench.take("ping", id="c1")
    assert (await bench.report("c1"))["result"] == {"ran": "ping"}
    await bench.answer()
    bench.take("exec", id="c2")
    report = await bench.report("c2")
    assert (report["state"], report["error"]["code"]) == ("rejected", "ledger_unwritable")
    assert bench.runs == ["ping"]
    bench.disk.commits_fail = bench.disk.reads_fail = False
    await eventually(lambda: bench.disk.command("c2") is not None)
    bench.take("exec", id="c2")
    await eventually(lambda: not bench.service.running())
    assert bench.runs == ["ping"], "what was refused stays refused"


ASIDE = SetAside(file="agent.db.broken-x", reason="torn", at_ms=NOW_MS, told=True)


@pytest.mark.parametrize(
    ("fields", "began_ms", "runs"),
    [
        pytest.param({"iat": 1_000}, 50_000.0, False, id="made before the ledger began"),
        pytest.param({"iat": 90_000}, 50_000.0, True, id="made after it"),
        pytest.param({"iat": 90_000, "made": 1_000}, 50_000.0, False, id="sent again after it"),
        pytest.param({"iat": 90_000}, None, False, id="the center's time is not known"),
        pytest.param({}, None, True, id="a person's, made now"),
    ],
)
async def test_what_a_lost_ledger_may_have_held_is_not_run_again(
    fields: dict[str, int], began_ms: float | None, runs: bool
) -> None:
    bench = Bench(ASIDE)
    await bench.connect()
    bench.began_ms = began_ms
    bench.take("exec", id="c1", **fields)
    report = await bench.report("c1")
    assert bench.runs == (["exec"] if runs else [])
    if not runs:
        assert (report["state"], report["error"]["code"]) == ("rejected", "ledger_lost")
    bench.take("ping", id="c2", iat=1)
    assert (await bench.report("c2"))["state"] == "succeeded", "what changes nothing may run twice"
    await _end(bench)


async def test_the_center_is_told_what_was_lost_with_the_database_once(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    epoch = await _used(path)
    _without_a_table(path)
    for life in range(2):
        database = open_database(path, seeded_ids(life), now_ms=NOW_MS)
        now = timing(ManualClock())
        outbox = Outbox(
            database, Sender(), now=partial(lambda at: at, now), max_bytes=2**24, woken=lambda: None
        )
        await outbox.recover(database.aside())
        records = database.records("events", range(1, 100))
        await outbox.close()
        await database.close()
    told = [orjson.loads(inflate(r.payload))["data"] for r in records.values()]
    assert told[0]["state"] == "set_aside"
    assert told[0]["file"] == f"agent.db.broken-{STAMP}"
    losses = [(w["stream"], w["epoch"], tuple(w["range"])) for w in told[1:]]
    assert ("metrics", epoch, (60, 123)) in losses
    assert ("events", epoch, (1, 2)) in losses
    assert {w["reason"] for w in told[1:]} == {"database damaged"}
    assert Command(made=5).made == 5
